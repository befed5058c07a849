"""The data sheets: every charge line and every haul, with the place it was read from."""

from collections.abc import Sequence
from dataclasses import dataclass

from wastewise_jobs.analysis.model import Haul, InvoiceLine
from wastewise_jobs.analysis.reports.workbook.book import Sheet, serial

_INVOICE_COLUMNS = (
    "File", "Sheet", "Row", "Invoice number", "Invoice date", "Period start", "Period end",
    "Covers from", "Covers to", "Month", "Vendor", "Service type", "Description", "Category",
    "Amount",
)  # fmt: skip
_HAUL_COLUMNS = (
    "File", "Sheet", "Row", "Date", "Time", "Container type", "Tons", "Location", "Notes",
    "Days since previous",
)  # fmt: skip


# Formulas cost far more than numbers to write and to open.
MOST_LIVE_LINES = 20_000


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the columns are that formulas of other sheets refer to."""

    covers_from: str
    covers_to: str
    month: str
    category: str
    amount: str
    haul_date: str
    haul_tons: str
    haul_gap: str


def write_rows(
    invoices: Sheet, hauls: Sheet, lines: Sequence[InvoiceLine], log: Sequence[Haul]
) -> Addresses:
    """Fill both data sheets and say where their columns are."""
    _write_invoices(invoices, lines)
    # By date, so that each row can count the days since the one above.
    _write_hauls(hauls, sorted(log, key=lambda haul: (haul.day, haul.time, haul.place)))
    last_line, last_haul = len(lines), len(log)
    return Addresses(
        covers_from=invoices.column(7, 1, last_line),
        covers_to=invoices.column(8, 1, last_line),
        month=invoices.column(9, 1, last_line),
        category=invoices.column(13, 1, last_line),
        amount=invoices.column(14, 1, last_line),
        haul_date=hauls.column(3, 1, last_haul),
        haul_tons=hauls.column(6, 1, last_haul),
        haul_gap=hauls.column(9, 2, last_haul),
    )


def _write_invoices(sheet: Sheet, lines: Sequence[InvoiceLine]) -> None:
    sheet.header(0, _INVOICE_COLUMNS, {2, 14})
    sheet.widths(26, 14, 6, 15, 11, 11, 11, 11, 11, 10, 26, 16, 42, 19, 12)
    sheet.printed(header_row=0)
    for row, line in enumerate(lines, 1):
        sheet.text(row, 0, line.place.file)
        sheet.text(row, 1, line.place.sheet or "")
        sheet.number(row, 2, line.place.row, "text")
        sheet.text(row, 3, line.invoice_number)
        sheet.day(row, 4, line.invoice_date)
        sheet.day(row, 5, line.period_start)
        sheet.day(row, 6, line.period_end)
        _write_covered(sheet, row, line, live=len(lines) <= MOST_LIVE_LINES)
        sheet.text(row, 10, line.vendor)
        sheet.text(row, 11, line.service_type)
        sheet.text(row, 12, line.description)
        sheet.text(row, 13, line.category.label)
        sheet.number(row, 14, line.amount, "usd")
    if lines:
        sheet.worksheet.autofilter(0, 0, len(lines), len(_INVOICE_COLUMNS) - 1)


def _write_covered(sheet: Sheet, row: int, line: InvoiceLine, *, live: bool) -> None:
    at = row + 1
    first, last = line.covers
    if not live:
        sheet.day(row, 7, first)
        sheet.day(row, 8, last)
        sheet.day(row, 9, first.replace(day=1), "month")
        return
    both = f"COUNT(F{at}:G{at})=2"
    month = f"DATE(YEAR(E{at}),MONTH(E{at}),1)"
    sheet.formula(row, 7, f"=IF({both},F{at},{month})", serial(first), "date")
    sheet.formula(row, 8, f"=IF({both},G{at},EOMONTH(E{at},0))", serial(last), "date")
    start = serial(first.replace(day=1))
    sheet.formula(row, 9, f"=DATE(YEAR(H{at}),MONTH(H{at}),1)", start, "month")


def _write_hauls(sheet: Sheet, hauls: Sequence[Haul]) -> None:
    sheet.header(0, _HAUL_COLUMNS, {2, 6, 9})
    sheet.widths(26, 14, 6, 11, 9, 20, 9, 28, 44, 20)
    sheet.printed(header_row=0)
    for row, haul in enumerate(hauls, 1):
        sheet.text(row, 0, haul.place.file)
        sheet.text(row, 1, haul.place.sheet or "")
        sheet.number(row, 2, haul.place.row, "text")
        sheet.day(row, 3, haul.day)
        sheet.text(row, 4, haul.time)
        sheet.text(row, 5, haul.container_type)
        sheet.number(row, 6, haul.tons, "number")
        sheet.text(row, 7, haul.location)
        sheet.text(row, 8, haul.notes)
        if row > 1:
            gap = (haul.day - hauls[row - 2].day).days
            sheet.formula(row, 9, f"=D{row + 1}-D{row}", gap, "whole")
    if hauls:
        sheet.worksheet.autofilter(0, 0, len(hauls), len(_HAUL_COLUMNS) - 1)
