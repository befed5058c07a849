"""Rows that nothing names and whose arithmetic tells what they are: sums, and payments."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from wastewise_jobs.analysis.intake.cells import Cell, is_blank, is_number
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.transactions import is_credit
from wastewise_jobs.analysis.model import InvoiceLine

_FEWEST = 2
_CREDIT = re.compile(r"\b(?:credits?|refund|rebate)\b", re.IGNORECASE)
_NO_CREDIT = re.compile(r"\bcredit card|\b(?:fees?|charges?|tax|revers\w+)\b", re.IGNORECASE)
_NOT_TO_PAY = re.compile(
    r"\b(?:do not pay|duplicate|forecast(?:ed)?|projected|budgeted)\b", re.IGNORECASE
)
_TOTAL = re.compile(r"\b(?:sub-?)?totals?\b|\bsum\b", re.IGNORECASE)


@dataclass(slots=True)
class Sums:
    """What the lines add up to: all of them, and those since the last total."""

    whole: Decimal = Decimal(0)
    lines: int = 0
    nearer: Decimal = Decimal(0)
    nearer_lines: int = 0

    def add(self, amount: Decimal) -> None:
        """Count a line."""
        self.whole, self.lines = self.whole + amount, self.lines + 1
        self.nearer, self.nearer_lines = self.nearer + amount, self.nearer_lines + 1

    def begin(self) -> None:
        """Begin anew below a total."""
        self.nearer, self.nearer_lines = Decimal(0), 0

    def has(self, amount: Decimal) -> bool:
        """Whether the amount is that of several lines together."""
        return (self.lines >= _FEWEST and amount == self.whole) or (
            self.nearer_lines >= _FEWEST and amount == self.nearer
        )


def is_sum(reader: RowReader, row: Sequence[Cell], amount: Decimal | None, sums: Sums) -> bool:
    """Whether an undated row with one word, which describes nothing, adds up the lines above it."""
    names = ("description", "service_type")
    if amount is None or not sums.has(amount) or reader.is_dated(row):
        return False
    words = [cell for cell in row if isinstance(cell, str) and not is_blank(cell)]
    described = " ".join(reader.text(row, name) for name in names)
    if _TOTAL.search(described):
        return True
    return not described.strip() and sum(not is_number(word) for word in words) <= 1


def note_mirrored(reader: RowReader, lines: Sequence[InvoiceLine]) -> None:
    """Warn where negative amounts undo half of the charges and no word calls them credits."""
    open_charges: Counter[tuple[str, Decimal]] = Counter()
    mirrored = charges = 0
    charged = undone = Decimal(0)
    negative: list[int] = []
    for line in lines:
        if line.amount > 0:
            open_charges[line.vendor, line.amount] += 1
            charges, charged = charges + 1, charged + line.amount
        elif line.amount < 0 and not is_credit(f"{line.service_type} {line.description}"):
            negative.append(line.place.row)
            undone -= line.amount
            mirrored += open_charges[line.vendor, -line.amount] > 0
            open_charges[line.vendor, -line.amount] -= 1
    if len(negative) < _FEWEST or not charges:
        return
    if undone * 2 >= charged or (mirrored >= _FEWEST and mirrored * 2 >= charges):
        message = (
            "Negative amounts undo most of the charges above them: they look like payments and "
            "were counted as credits."
        )
        for row in negative:
            reader.warn("credits_like_payments", message, row, "amount")


def note_no_charges(reader: RowReader, lines: Sequence[InvoiceLine]) -> None:
    """Warn of lines whose description says that they are not to be paid: they were counted."""
    for line in lines:
        if _NOT_TO_PAY.search(line.description):
            message = "Described as duplicate, forecast or not to be paid: they were counted."
            reader.warn("perhaps_no_charge", message, line.place.row, "description")


def note_positive_credits(reader: RowReader, lines: Sequence[InvoiceLine]) -> None:
    """Warn of positive amounts whose description is that of a credit: they were counted."""
    for line in lines:
        text = f"{line.service_type} {line.description}"
        if line.amount > 0 and _CREDIT.search(text) and not _NO_CREDIT.search(text):
            message = "Described as credits, but positive: they were counted as charges."
            reader.warn("positive_credit", message, line.place.row, "amount")
