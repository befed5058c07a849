"""Rows that nothing names and whose arithmetic tells what they are: sums, and payments."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from wastewise_jobs.analysis.intake.cells import Cell, is_blank, is_number
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.transactions import is_credit
from wastewise_jobs.analysis.model import InvoiceLine

_FEWEST = 2


def is_sum(
    reader: RowReader, row: Sequence[Cell], amount: Decimal | None, lines: Sequence[InvoiceLine]
) -> bool:
    """Whether an undated row with one word, which describes nothing, adds up the lines above it."""
    names = ("description", "service_type")
    if amount is None or reader.is_dated(row) or any(reader.text(row, name) for name in names):
        return False
    words = [cell for cell in row if isinstance(cell, str) and not is_blank(cell)]
    if sum(not is_number(word) for word in words) > 1:
        return False
    last = max(reader.skipped.get("total rows", ()), default=0)
    nearer = [line.amount for line in lines if line.place.row > last]
    return any(
        len(parts) >= _FEWEST and sum(parts, Decimal(0)) == amount
        for parts in (nearer, [line.amount for line in lines])
    )


def note_mirrored(reader: RowReader, lines: Sequence[InvoiceLine]) -> None:
    """Warn where negative amounts undo half of the charges and no word calls them credits."""
    open_charges: Counter[tuple[str, Decimal]] = Counter()
    mirrored: list[int] = []
    charges = 0
    for line in lines:
        if line.amount > 0:
            open_charges[line.vendor, line.amount] += 1
            charges += 1
        elif open_charges[line.vendor, -line.amount] > 0 and not is_credit(
            f"{line.service_type} {line.description}"
        ):
            open_charges[line.vendor, -line.amount] -= 1
            mirrored.append(line.place.row)
    if len(mirrored) >= _FEWEST and len(mirrored) * 2 >= charges:
        message = (
            "Negative amounts undo most of the charges above them: they look like payments and "
            "were counted as credits."
        )
        for row in mirrored:
            reader.warn("credits_like_payments", message, row, "amount")
