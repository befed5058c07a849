"""Holds the rows of a ledger against its running balance: each step must be its row's amount."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from wastewise_jobs.analysis.intake.cells import Cell, is_blank
from wastewise_jobs.analysis.intake.headers import plain
from wastewise_jobs.analysis.intake.rowreader import RowReader

_NAMES = ("balance", "running balance", "running total", "account balance", "cumulative")
_LISTED = 10
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class _Step:
    """From one row to the next: what the balance did and what the amount of the row is."""

    number: int
    moved: Decimal
    amount: Decimal
    balance: Decimal

    def fits(self, sign: int) -> bool:
        """Whether they agree, or the balance starts anew with this row."""
        return sign * self.amount in {self.moved, self.balance}


def check_balance(
    reader: RowReader, amounts: Mapping[int, Decimal], parse: Callable[[Cell], Decimal]
) -> None:
    """State that the balance agrees, or warn of the rows where it does not.

    A column that does not run with the amounts, as of what is still open, says nothing.
    """
    names = [at for at, name in enumerate(reader.layout.headers) if plain(name) in _NAMES]
    if not names:
        return
    balances = _balances(reader, names[0], parse)
    numbers = sorted(amounts.keys() & balances.keys())
    ways = [
        (sign, _steps(order, amounts, balances))
        for order in (numbers, numbers[::-1])
        for sign in (1, -1)
    ]
    sign, steps = max(ways, key=lambda way: sum(step.fits(way[0]) for step in way[1]))
    wrong = [step for step in steps if not step.fits(sign)]
    if not steps or len(wrong) * 5 > len(steps) * 2:
        return
    if not wrong:
        reader.checks.append(
            f"The running balance agrees with all of {len(numbers)} rows that were read."
        )
    elif len(steps) >= _FEWEST:
        for step in wrong[:_LISTED]:
            message = (
                f"The running balance moves by {abs(step.moved)}, the row says {abs(step.amount)}: "
                "a row may be missing or misread."
            )
            reader.warn("balance_mismatch", message, step.number, "amount")


def _balances(reader: RowReader, at: int, parse: Callable[[Cell], Decimal]) -> dict[int, Decimal]:
    found: dict[int, Decimal] = {}
    for number, row in enumerate(reader.table.rows, 1):
        if number > reader.layout.header_row + 1 and at < len(row) and not is_blank(row[at]):
            try:
                found[number] = parse(row[at])
            except ValueError:
                continue
    return found


def _steps(
    numbers: list[int], amounts: Mapping[int, Decimal], balances: Mapping[int, Decimal]
) -> list[_Step]:
    """Oldest first or newest first: the row that moved the balance is the later one."""
    return [
        _Step(number, balances[number] - balances[before], amounts[number], balances[number])
        for before, number in pairwise(numbers)
    ]
