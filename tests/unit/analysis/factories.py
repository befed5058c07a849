"""Builders for the tests of the analysis: lines, hauls and files with only what a test is about."""

import io
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import xlsxwriter

from wastewise_jobs.analysis import Category, Extraction, Haul, InvoiceLine, SourceFile, extract
from wastewise_jobs.analysis.model import Place

INVOICE_HEADER = (
    "Invoice Number,Invoice Date,Service Period Start,Service Period End,Vendor Name,"
    "Service Type,Description,Amount"
)
HAUL_HEADER = "Date,Time,Container Type,Tons,Location,Notes"


def make_line(
    amount: str = "100.00",
    start: str | None = "2024-01-01",
    end: str | None = "2024-01-31",
    **overrides: Any,
) -> InvoiceLine:
    """A charge line of January 2024."""
    values: dict[str, Any] = {
        "place": Place("invoices.csv", None, 2),
        "invoice_number": "INV-1",
        "invoice_date": date(2024, 2, 1),
        "period_start": start and date.fromisoformat(start),
        "period_end": end and date.fromisoformat(end),
        "vendor": "Vendor",
        "service_type": "",
        "description": "",
        "amount": Decimal(amount),
        "category": Category.OTHER,
    }
    return InvoiceLine(**{**values, **overrides})


def make_haul(day: date, tons: str = "5.2", row: int = 2, container: str = "Compactor") -> Haul:
    """One haul."""
    return Haul(Place("hauls.csv", None, row), day, "", container, Decimal(tons), "", "")


def hauls_over(count: int, span_days: int, tons: str = "5.2") -> list[Haul]:
    """Hauls from 1 January 2024, spread evenly so that the last is `span_days` after the first."""
    first = date(2024, 1, 1)
    gaps = count - 1
    return [
        make_haul(first + timedelta(days=at * span_days // gaps), tons, at + 2)
        for at in range(count)
    ]


def extraction_of(lines: Iterable[InvoiceLine] = (), hauls: Iterable[Haul] = ()) -> Extraction:
    """An extraction without files."""
    return Extraction(tuple(lines), tuple(hauls))


def invoice_csv(*rows: str, header: str = INVOICE_HEADER, name: str = "invoices.csv") -> SourceFile:
    """An invoice file in CSV."""
    return SourceFile(name, "\n".join([header, *rows]).encode())


def haul_csv(*rows: str, header: str = HAUL_HEADER, name: str = "hauls.csv") -> SourceFile:
    """A haul log in CSV."""
    return SourceFile(name, "\n".join([header, *rows]).encode())


def lines_of(*files: SourceFile) -> tuple[InvoiceLine, ...]:
    """The charge lines of the files."""
    return extract(files).invoice_lines


def workbook(*sheets: tuple[str, Sequence[Any]], hidden: str = "") -> bytes:
    """An XLSX file; dates become date cells, a pair (formula, value) a formula with that value."""
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    dated = book.add_format({"num_format": "m/d/yyyy"})
    for title, rows in sheets:
        sheet = book.add_worksheet(title)
        if title == hidden:
            sheet.hide()
        for at, row in enumerate(rows):
            for column, value in enumerate(row):
                if isinstance(value, tuple):
                    sheet.write_formula(at, column, value[0], None, value[1])
                elif isinstance(value, date):
                    sheet.write_datetime(at, column, value, dated)
                elif isinstance(value, str):
                    sheet.write_string(at, column, value)
                elif value is not None:
                    sheet.write_number(at, column, value)
    book.close()
    return buffer.getvalue()
