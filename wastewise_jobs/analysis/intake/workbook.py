"""A workbook as tables: every visible sheet, formulas by the value that was stored with them."""

from dataclasses import replace

from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.intake.xlsx import Book, Budget
from wastewise_jobs.analysis.intake.xlsx.budget import MOST_BYTES
from wastewise_jobs.analysis.text import clean

__all__ = ["MOST_BYTES", "first_rows", "read_workbook"]

# What recognition may take: enough for the texts of any honest header.
_GLANCE_BYTES = 32 * 2**20
_GLANCE_ELEMENTS = 1_000_000


def read_workbook(name: str, content: bytes, notebook: Notebook) -> list[Table]:
    """Every visible worksheet; a warning for each that is hidden.

    Raises `UnreadableFilesError` for what is no workbook, is damaged, encrypted or too large.
    """
    book = Book(content, Budget(name))
    book.read_styles()
    tables: list[Table] = []
    for sheet in book.sheets():
        title = clean(sheet.title)
        if sheet.is_hidden:
            table = Table(name, title, ())
            notebook.warn("hidden_sheet", "A hidden sheet was not read.", table=table)
            continue
        reader = book.read(sheet)
        marks = replace(reader.marks, date1904=book.date1904)
        tables.append(Table(name, title, reader.rows, marks))
    return tables


def first_rows(name: str, content: bytes, rows: int) -> list[Table]:
    """The first rows of every visible worksheet, for a glance: dates stay numbers.

    Takes a fraction of what `read_workbook` may; raises `UnreadableFilesError` too.
    """
    book = Book(content, Budget(name, most_bytes=_GLANCE_BYTES, most_elements=_GLANCE_ELEMENTS))
    return [
        Table(name, clean(sheet.title), book.read_first(sheet, rows).rows[:rows])
        for sheet in book.sheets()
        if not sheet.is_hidden
    ]
