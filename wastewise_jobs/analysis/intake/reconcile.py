"""Holds what was read against the totals and the running balance that the file carries itself.

A total that agrees is stated with the file; one that does not is a warning with both figures.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from wastewise_jobs.analysis.intake.balances import check_balance
from wastewise_jobs.analysis.intake.cells import Cell, is_blank, text_of
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.model import ranges

Parse = Callable[[Cell], Decimal]

# Totals are of cents that were rounded before they were added.
_TOLERANCE = Decimal("0.05")
_LISTED = 10
# Left out for what they are; other rows are left out of what the file itself adds up.
_NO_ROWS = {"blank", "repeated header", "total rows", "group headings", "note rows"}
_NOTHING: Mapping[int, Cell] = {}
_COMPARED = 30
_LONGEST = 100
# Grand Total: $8,100.00, all in one cell.
_SAID = re.compile(r"[^\d$]*:\s*(?P<value>\$\s*\d[\d.,]*|\d[\d.,]*[.,]\d{2})")
_NO_SUM = re.compile(
    r"average|avg|\bmean\b|median|count|\bmin|\bmax|\bper |budget|varian", re.IGNORECASE
)
_MAY_BE_MORE = re.compile(r"\bdue\b|balance|paid|payments?|tax", re.IGNORECASE)


@dataclass(slots=True)
class _Sums:
    """Sums from each place where a total may begin: `bare` of what counts, `whole` of all."""

    bare: list[Decimal]
    whole: list[Decimal]


def reconcile(
    reader: RowReader,
    counted: Mapping[int, Decimal],
    column: str,
    parse: Parse,
    written: Mapping[int, Cell] = _NOTHING,
) -> None:
    """Compare the rows `counted` with every total that was left out, and with the balance.

    The file's own totals may be of what is `written` instead: of rows whose sign was turned.
    """
    others = {
        number: value
        for reason, numbers in reader.skipped.items()
        if reason not in _NO_ROWS
        for number in numbers
        if (value := _value(reader, number, column, parse)) is not None
    }
    for number, cell in written.items():
        if (value := _parsed(cell, parse)) is not None:
            others[number] = value
    _check_totals(reader, counted, others, column, parse)
    if column == "amount":
        check_balance(reader, {**counted, **others}, parse)


def _value(reader: RowReader, number: int, column: str, parse: Parse) -> Decimal | None:
    return _parsed(reader.cell(reader.table.rows[number - 1], column), parse)


def _parsed(cell: Cell, parse: Parse) -> Decimal | None:
    try:
        return None if is_blank(cell) else parse(cell)
    except ValueError:
        return None


def _check_totals(
    reader: RowReader,
    counted: Mapping[int, Decimal],
    others: Mapping[int, Decimal],
    column: str,
    parse: Parse,
) -> None:
    totals = reader.skipped.get("total rows", [])
    if not totals:
        return
    sums = _running(counted, others, [*totals, *reader.groups.headings])
    agreed: dict[int, Decimal] = {}
    with_others: dict[int, Decimal] = {}
    missed = 0
    for number in totals:
        label = _label(reader.table.rows[number - 1])
        value = _value(reader, number, column, parse)
        if value is None and (said := _SAID.fullmatch(label.strip())):
            value = _parsed(said["value"], parse)
        if not value or _NO_SUM.search(label):
            continue
        if _agrees(value, sums[number].bare):
            agreed[number] = value
        elif _agrees(value, sums[number].whole):
            with_others[number] = value
        elif not _MAY_BE_MORE.search(label) and missed < _LISTED:
            missed += 1
            _warn(reader, number, column, value, sums[number].bare)
    _state(reader, agreed, "what was read")
    _state(reader, with_others, "the rows as they are written, those left out among them")


def _running(
    counted: Mapping[int, Decimal], others: Mapping[int, Decimal], places: Sequence[int]
) -> dict[int, _Sums]:
    """At each place the sums from every earlier place to it, the nearest first."""
    starts: list[tuple[Decimal, Decimal]] = [(Decimal(0), Decimal(0))]
    bare = whole = Decimal(0)
    found: dict[int, _Sums] = {}
    marks = set(places)
    for number in sorted(counted.keys() | others.keys() | marks):
        bare += counted.get(number, Decimal(0))
        whole += others.get(number, counted.get(number, Decimal(0)))
        if number in marks:
            nearest = [starts[0], *starts[1:][-_COMPARED:]][::-1]
            found[number] = _Sums(
                [bare - start for start, _ in nearest], [whole - start for _, start in nearest]
            )
            starts.append((bare, whole))
    _add_below(found, starts, (bare, whole))
    return found


def _add_below(
    found: Mapping[int, _Sums],
    starts: Sequence[tuple[Decimal, Decimal]],
    end: tuple[Decimal, Decimal],
) -> None:
    """Add what follows each place, to the next one and to the end: a total may stand above."""
    for (bare, whole), after, sums in zip(
        starts[1:], (*starts[2:], end), found.values(), strict=True
    ):
        sums.bare += [after[0] - bare, end[0] - bare]
        sums.whole += [after[1] - whole, end[1] - whole]


def _agrees(value: Decimal, sums: Sequence[Decimal]) -> bool:
    half = Decimal(1).scaleb(min(0, int(value.as_tuple().exponent))) / 2
    return any(abs(value - total) <= max(half, _TOLERANCE) for total in sums)


def _label(row: Sequence[Cell]) -> str:
    return " ".join(text_of(cell) for cell in row if isinstance(cell, str))


def _warn(
    reader: RowReader, number: int, column: str, value: Decimal, sums: Sequence[Decimal]
) -> None:
    nearest = min(sums, key=lambda total: abs(total - value))
    message = f"The file's own total says {value}, the rows that were read add up to {nearest}."
    reader.warn("total_mismatch", message, number, column)


def _state(reader: RowReader, agreed: Mapping[int, Decimal], what: str) -> None:
    if len(agreed) == 1:
        ((number, value),) = agreed.items()
        reader.checks.append(f"The total in row {number}, {value}, agrees with {what}.")
    elif agreed:
        largest = max(agreed.values(), key=abs)
        reader.checks.append(
            f"{len(agreed)} totals, rows {_shown(agreed)}, agree with {what}; "
            f"the largest is {largest}."
        )


def _shown(rows: Mapping[int, Decimal]) -> str:
    text = ranges(rows)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(',')[0]}, …"
