"""The XLSX report: every row, every formula live, and the values that they have now.

    Inputs (yellow: change them) ──┐
    Invoices, Hauls ─▶ Months ─▶ Metrics ─▶ Recommendations ─▶ Summary

A reader that does not calculate sees the values that we calculated; one that does gets the same.
"""

from wastewise_jobs.analysis.extraction import Extraction
from wastewise_jobs.analysis.reports.workbook.advice import write_advice
from wastewise_jobs.analysis.reports.workbook.book import Book
from wastewise_jobs.analysis.reports.workbook.metrics import write_inputs, write_metrics
from wastewise_jobs.analysis.reports.workbook.months import write_months
from wastewise_jobs.analysis.reports.workbook.notes import write_notes
from wastewise_jobs.analysis.reports.workbook.rows import write_rows
from wastewise_jobs.analysis.reports.workbook.summary import write_summary
from wastewise_jobs.analysis.result import Analysis

__all__ = ["render_xlsx"]


def render_xlsx(analysis: Analysis, extraction: Extraction) -> bytes:
    """The workbook of the analysis and the rows that it was made from."""
    book = Book()
    summary, advice, metrics, months, inputs, invoices, hauls, notes = (
        book.sheet(name)
        for name in ("Summary", "Recommendations", "Metrics", "Months", "Inputs", "Invoices",
                     "Hauls", "Notes")
    )  # fmt: skip
    lines = extraction.invoice_lines
    data = write_rows(invoices, hauls, lines, extraction.hauls)
    columns = write_months(months, analysis.months, data, lines=len(lines))
    write_inputs(book, inputs, analysis.facts)
    write_metrics(book, metrics, analysis, data, columns)
    outcomes = write_advice(advice, analysis, data)
    write_summary(book, summary, analysis, outcomes, data, columns)
    write_notes(notes, analysis)
    return book.content()
