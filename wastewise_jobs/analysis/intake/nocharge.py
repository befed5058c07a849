"""Which rows are no charge or no haul: counting them would hide or double something."""

from collections.abc import Sequence

from wastewise_jobs.analysis.intake.cells import Cell, text_of
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.signs import is_negative
from wastewise_jobs.analysis.intake.transactions import (
    Kind,
    is_balance,
    is_billed,
    is_payment,
    is_unbilled,
)

PAYMENTS = "payment rows"
UNBILLED = "unbilled rows"
UNHAULED = "rows of no haul"
LEFT_OUT = {
    UNHAULED: "Rows that are void or cancelled are no hauls and were left out.",
    PAYMENTS: "Payments and carried balances are no charges and were left out.",
    UNBILLED: "Rows that are void, drafts, estimates or quotes are no charges and were left out.",
}


def reason_no_haul(reader: RowReader, number: int, row: Sequence[Cell]) -> str | None:
    """Why the row of a haul log is no haul: it was called off, or its ticket is void."""
    hauled = _by_status(reader, number, row)
    is_void = any(is_unbilled(reader.text(row, name)) for name in ("notes", "container_type"))
    return UNHAULED if not hauled or is_void else None


def _by_status(reader: RowReader, number: int, row: Sequence[Cell]) -> bool:
    """Whether no status speaks against the row."""
    said = [is_billed(text_of(row[at])) for at in reader.statuses if at < len(row)]
    if None in said:
        reader.warn("status_not_known", "Rows of an unknown status were counted.", number, "status")
    return False not in said


def reason_to_leave_out(
    reader: RowReader, number: int, row: Sequence[Cell], kind: Kind | None
) -> str | None:
    """Why the row is no charge, None for a charge. `kind` is what a ledger says it is."""
    if not _by_status(reader, number, row) or kind is Kind.UNBILLED:
        return UNBILLED
    described = reader.text(row, "description"), reader.text(row, "service_type")
    if any(map(is_unbilled, described)):
        return UNBILLED
    if kind in {Kind.PAYMENT, Kind.BALANCE, Kind.CHECK}:
        return PAYMENTS
    if kind is not None:
        return None
    negative = is_negative(reader.cell(row, "amount"))
    # A number beside which nothing is described, as of a check.
    texts = [text for text in described if text] or [reader.text(row, "invoice_number")]
    if negative and is_payment(reader.text(row, "invoice_number"), negative=False):
        return PAYMENTS
    if not texts[0] and not reader.is_dated(row):
        # What is overdue for how long stands below some lists.
        texts = [reader.text(row, "vendor")]
    paid = any(is_balance(text) or is_payment(text, negative=negative) for text in texts)
    return PAYMENTS if paid else None
