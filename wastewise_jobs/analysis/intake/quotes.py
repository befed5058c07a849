"""Finds the rows of a CSV file that a stray quotation mark or separator has broken.

A quoted field may hold line breaks: addresses and notes do. But where one of its lines reads as a
row of the same table, the quote was a stray one and has swallowed that row.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from wastewise_jobs.analysis.errors import Problem
from wastewise_jobs.analysis.intake.cells import Cell, date_of, is_blank, is_number
from wastewise_jobs.analysis.intake.headers import Layout
from wastewise_jobs.analysis.intake.tables import Notebook, Table

_DATES = ("date", "invoice_date", "period_start", "period_end")
_VALUES = ("amount", "debit", "credit", "paid", "unpaid", "tons", "pounds", "weight")
_NARROWEST = 4
_BREAKS = ("\n", "\r")


def note_broken_rows(table: Table, layout: Layout, notebook: Notebook) -> None:
    """A problem for each row that has swallowed others or has more cells than the header."""
    if table.separator is None:
        return
    usual = Counter(len(row) for row in table.rows[layout.header_row + 1 :]).most_common(1)
    for number, row in enumerate(table.rows, 1):
        if swallowed := _swallowed(row, table.separator, layout):
            rows = "a row" if swallowed == 1 else f"{swallowed} rows"
            problem = (
                f'a quotation mark (") opens a field that holds {rows} below it: '
                "remove or double the mark"
            )
            notebook.problem(Problem(problem, table.file, None, number))
        elif number > layout.header_row + 1 and _overflows(row, layout, usual[0][0]):
            problem = (
                f"has {len(row)} cells below a header of {len(layout.headers)} columns: "
                f'quote the field that holds a "{table.separator}"'
            )
            notebook.problem(Problem(problem, table.file, None, number))


def _swallowed(row: Sequence[Cell], separator: str, layout: Layout) -> int:
    """How many lines of the row's fields read as rows of their own."""
    if not any(mark in str(cell) for cell in row for mark in _BREAKS):
        return 0
    return sum(_is_row(line, layout) for line in list(_lines(row, separator))[1:])


def _lines(row: Sequence[Cell], separator: str) -> Iterator[list[str]]:
    """The physical lines of the row, each split as if nothing in them were quoted."""
    line: list[str] = []
    for cell in row:
        first, *others = str(cell).splitlines() or [""]
        line.append(first)
        for other in others:
            yield line
            line = other.replace('"', "").split(separator)
    yield line


def _is_row(cells: Sequence[str], layout: Layout) -> bool:
    dated = any(_is_date(cell) for cell in _cells(cells, layout, _DATES))
    valued = any(is_number(cell) for cell in _cells(cells, layout, _VALUES))
    is_whole = len(cells) >= max(len(layout.headers), _NARROWEST)
    return (dated and valued) or (is_whole and (dated or valued))


def _cells(cells: Sequence[str], layout: Layout, names: Sequence[str]) -> list[str]:
    places = (layout.columns[name] for name in names if name in layout.columns)
    return [cells[at] for at in places if at < len(cells) and not is_blank(cells[at])]


def _is_date(cell: str) -> bool:
    try:
        date_of(cell)
    except ValueError:
        return False
    return True


def _overflows(row: Sequence[Cell], layout: Layout, usual: int) -> bool:
    """Whether an unquoted separator has moved cells: `4,000.00` would be read as 4.

    Words alone behind the last column move nothing if that column is words too, or if every row
    has them: a column without a name.
    """
    width = len(layout.headers)
    extra = [cell for cell in row[width:] if not is_blank(cell)]
    named = (row[at] for at in layout.columns.values() if at < len(row))
    if not extra or sum(not is_blank(cell) for cell in named) < 2:  # noqa: PLR2004  # a title
        return False
    if any(is_number(cell) or _is_date(str(cell)) for cell in extra):
        return True
    last = {name for name, at in layout.columns.items() if at == width - 1}
    return len(row) != usual and not last & {"description", "notes"}
