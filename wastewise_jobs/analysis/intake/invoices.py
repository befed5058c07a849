"""Reads an invoice sheet into charge lines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import partial

from wastewise_jobs.analysis.categories import category_of
from wastewise_jobs.analysis.intake.amounts import settle_amount
from wastewise_jobs.analysis.intake.cells import Cell, is_blank, number_of
from wastewise_jobs.analysis.intake.days import note_short_years, read_days
from wastewise_jobs.analysis.intake.decimals import is_decimal_comma
from wastewise_jobs.analysis.intake.doubles import note_rows_again, note_totals_of_invoices
from wastewise_jobs.analysis.intake.ledgers import read_ledger
from wastewise_jobs.analysis.intake.nocharge import LEFT_OUT, reason_to_leave_out
from wastewise_jobs.analysis.intake.reconcile import reconcile
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.suspects import (
    Sums,
    is_sum,
    note_mirrored,
    note_no_charges,
    note_positive_credits,
)
from wastewise_jobs.analysis.intake.transactions import Kind
from wastewise_jobs.analysis.intake.units import note_currencies
from wastewise_jobs.analysis.model import InvoiceLine

LONGEST_PERIOD_DAYS = 400

_ADDED = re.compile(
    r"\D*\b(?:tax|gst|hst|vat|surcharge)\b(?! rate| id)[^\d:]*(?:\d+(?:\.\d+)? ?%)?", re.IGNORECASE
)
_NO_AMOUNT = "is empty (or holds a formula whose value was never calculated)"


@dataclass(frozen=True, slots=True)
class _Heading:
    """What an invoice says once, on its first line, for the lines below it."""

    number: str = ""
    day: date | None = None
    vendor: str = ""
    start: date | None = None
    end: date | None = None


def read_invoices(reader: RowReader) -> list[InvoiceLine]:
    """The charge lines of the sheet, in its order; problems and warnings go to the notebook."""
    settled = settle_amount(reader)
    ledger = read_ledger(reader)
    european = is_decimal_comma(reader, "amount")
    _warn_about_columns(reader, settled)
    note_currencies(reader)
    note_short_years(reader)
    lines: list[InvoiceLine] = []
    above, sums = _Heading(), Sums()
    for number, row in reader:
        if _is_no_line(reader, number, row, ledger.kinds.get(number), sums, european=european):
            continue
        heading = _completed(reader, number, _heading(reader, number, row), above)
        line = _line(reader, number, row, heading, european=european)
        if line is not None:
            lines.append(line)
            sums.add(line.amount)
            above = heading
    reader.rows_read = len(lines)
    counted = {line.place.row: line.amount for line in lines}
    note_mirrored(reader, lines)
    note_positive_credits(reader, lines)
    note_no_charges(reader, lines)
    note_totals_of_invoices(reader, lines)
    note_rows_again(reader, lines)
    parse = partial(number_of, european=european)
    reconcile(reader, counted, "amount", parse, ledger.written)
    return lines


def _is_no_line(
    reader: RowReader,
    number: int,
    row: Sequence[Cell],
    kind: Kind | None,
    sums: Sums,
    *,
    european: bool,
) -> bool:
    """Whether the row is left out, by its words or because it adds up the lines above it."""
    if _is_skipped(reader, number, row, kind):
        if reader.skipped.get("total rows", [0])[-1] == number:
            sums.begin()
        return True
    if is_sum(reader, row, _number(reader, row, european=european), sums):
        reader.skip_total(number)
        sums.begin()
        return True
    if reader.stands_alone(row, "amount"):
        reader.skip_bare_total(number, row, "amount", sums.whole, european=european)
        return True
    return False


def _number(reader: RowReader, row: Sequence[Cell], *, european: bool) -> Decimal | None:
    """The amount if it can be read; nothing is noted."""
    try:
        return number_of(reader.cell(row, "amount"), european=european)
    except ValueError:
        return None


def _warn_about_columns(reader: RowReader, settled: frozenset[str]) -> None:
    columns, header = reader.layout.columns, reader.layout.header_row + 1
    if not columns.keys() & {"service_type", "description"}:
        reader.warn(
            "no_description", "No column says what a charge is for: all are 'other'.", header
        )
    rivals = [
        name for name in reader.layout.ignored if _is_amount_name(name) and name not in settled
    ][:5]
    if rivals:
        message = f"Not added to it: {', '.join(rivals)}."
        reader.warn("amount_column_chosen", message, header, "amount")


def _is_amount_name(name: str) -> bool:
    return bool(
        re.search(r"\b(amount|total|charges?|tax|cost(?! cent| code))\b", name, re.IGNORECASE)
    )


def _heading(reader: RowReader, number: int, row: Sequence[Cell]) -> _Heading:
    dated = read_days(reader, number, row)
    return _Heading(
        number=reader.text(row, "invoice_number"),
        day=dated.day,
        vendor=reader.text(row, "vendor") or _group(reader, number),
        start=dated.start,
        end=dated.end,
    )


def _group(reader: RowReader, number: int) -> str:
    """The name above the rows of a report by vendor; a number is that of an account."""
    name = "" if "vendor" in reader.layout.columns else reader.groups.group.get(number, "")
    return "" if name[:1].isdigit() else name


def _is_skipped(reader: RowReader, number: int, row: Sequence[Cell], kind: Kind | None) -> bool:
    if number in reader.groups.headings:
        reader.skip("group headings", number)
        return True
    if reader.is_total(row):
        reader.skip_total(number)
        return True
    reason = reason_to_leave_out(reader, number, row, kind)
    if reason is not None:
        reader.skip_and_warn(reason, number, LEFT_OUT[reason])
        return True
    if is_blank(reader.cell(row, "amount")) and (not reader.is_dated(row) or reader.is_remark(row)):
        message = "Rows without a date and an amount were left out."
        reader.skip_and_warn("note rows", number, message)
        return True
    return False


def _completed(reader: RowReader, number: int, heading: _Heading, above: _Heading) -> _Heading:
    """The heading with what only the invoice's first line says.

    A merged or blank cell means "as above" only within one invoice: the number is the same or
    blank too. A new number without a date is an error, not a guess.
    """
    undated = heading.day is None and heading.start is None
    if undated and above.day is None and above.start is None:
        return heading
    if undated and _ADDED.fullmatch(heading.number):
        # A tax that is added below the list, called so in the column of the numbers.
        heading = replace(heading, number="")
    if not undated or heading.number not in {"", above.number}:
        same = heading.number == above.number != ""
        return replace(heading, vendor=heading.vendor or (above.vendor if same else ""))
    reader.warn("filled_down", "Blank dates and numbers were taken from the row above.", number)
    return replace(
        above,
        vendor=heading.vendor or above.vendor,
        end=heading.end or above.end,
    )


def _line(
    reader: RowReader, number: int, row: Sequence[Cell], heading: _Heading, *, european: bool
) -> InvoiceLine | None:
    amount = _amount(reader, number, row, european=european)
    start, end = _period(reader, number, heading)
    undated = heading.day is None and start is None
    # Of a date that cannot be read the problem is noted already.
    if undated and not reader.is_dated(row):
        name = next(
            n for n in ("invoice_date", "period_start", "period") if n in reader.layout.columns
        )
        reader.problem(number, name, "is empty, and no service period is given")
    if amount is None or undated:
        return None
    service_type = reader.text(row, "service_type")
    description = reader.text(row, "description")
    if not description and _ADDED.fullmatch(label := reader.text(row, "invoice_number")):
        description = label
    if not heading.vendor and "vendor" in reader.layout.columns:
        reader.warn("no_vendor", "No vendor is named.", number, "vendor")
    return InvoiceLine(
        place=reader.place(number),
        invoice_number=heading.number,
        invoice_date=heading.day,
        period_start=start,
        period_end=end,
        vendor=heading.vendor,
        service_type=service_type,
        description=description,
        amount=amount,
        category=category_of(service_type, description),
    )


def _amount(
    reader: RowReader, number: int, row: Sequence[Cell], *, european: bool
) -> Decimal | None:
    cell = reader.cell(row, "amount")
    if is_blank(cell):
        reader.problem(number, "amount", _NO_AMOUNT)
        return None
    return reader.read(number, "amount", cell, partial(number_of, european=european))


def _period(reader: RowReader, number: int, heading: _Heading) -> tuple[date | None, date | None]:
    start, end = heading.start, heading.end
    if start is None and end is None:
        return None, None
    if start is None or end is None:
        message = (
            "Only one end of the service period is given: the line counts for its invoice month."
        )
        reader.warn("half_period", message, number)
        return (None, None) if heading.day is not None else (start or end, start or end)
    if end < start:
        if heading.day is None:
            reader.problem(number, "period_end", "is before the start of the period")
            return None, None
        message = "The service period ends before it starts: the line counts for its invoice month."
        reader.warn("reversed_period", message, number)
        return None, None
    if (end - start).days > LONGEST_PERIOD_DAYS:
        reader.warn("long_period", "The service period is longer than a year.", number)
    return start, end
