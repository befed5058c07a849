"""Finds the rows of a CSV file that a stray quotation mark or separator has broken.

A quoted field may hold line breaks: addresses and notes do. But where one of its lines reads as a
row of the same table, the quote was a stray one and has swallowed that row.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from wastewise_jobs.analysis.errors import Problem
from wastewise_jobs.analysis.intake.cells import Cell, date_of, is_blank, is_number
from wastewise_jobs.analysis.intake.headers import Layout
from wastewise_jobs.analysis.intake.tables import Notebook, Table

_DATES = ("date", "invoice_date", "period_start", "period_end")
_VALUES = ("amount", "debit", "credit", "paid", "unpaid", "tons", "pounds", "weight")
_NARROWEST = 4
_THOUSANDS = re.compile(r"\s*[-(]?\s*\$?\s*\d{1,3}\s*")
_HUNDREDS = re.compile(r"\s*\d{3}(?:\.\d*)?\)?\"?\s*")
_BREAKS = ("\n", "\r")


def note_broken_rows(table: Table, layout: Layout, notebook: Notebook) -> None:
    """A problem for each row that has swallowed others or has more cells than the header."""
    if table.separator is None:
        return
    counts = Counter(len(row) for row in table.rows[layout.header_row + 1 :])
    usual = counts.most_common(1)[0][0] if counts else len(layout.headers)
    for number, row in enumerate(table.rows, 1):
        problem = _broken(
            row, table.separator, layout, usual, is_data=number > layout.header_row + 1
        )
        if problem:
            notebook.problem(Problem(problem, table.file, None, number))


def _broken(
    row: Sequence[Cell], separator: str, layout: Layout, usual: int, *, is_data: bool
) -> str:
    """What is wrong with the row as a row, if anything is."""
    # A header that has swallowed rows is wider than they are.
    if swallowed := _swallowed(row, separator, layout, min(usual, len(layout.headers))):
        rows = "a row" if swallowed == 1 else f"{swallowed} rows"
        return (
            f'a quotation mark (") opens a field that holds {rows} below it: '
            "remove or double the mark"
        )
    if is_data and (mark := _other_mark(row, separator, layout, usual)):
        return f'is separated by "{mark}", the header by "{separator}": use one mark throughout'
    if is_data and _is_joined(row, separator, layout):
        return 'a quotation mark (") joins several cells of the row: remove or double it'
    if is_data and _overflows(row, layout, usual):
        return (
            f"has {len(row)} cells below a header of {len(layout.headers)} columns: "
            f'quote the field that holds a "{separator}"'
        )
    return ""


def _swallowed(row: Sequence[Cell], separator: str, layout: Layout, width: int) -> int:
    """How many lines of the row's fields read as rows of their own."""
    if not any(mark in str(cell) for cell in row for mark in _BREAKS):
        return 0
    lines = list(_lines(row, separator))[1:]
    # Marks that are left in a field show that the fields beside it are not what they seem either.
    is_marked = any('"' in str(cell) for cell in row)
    return sum(
        _is_row(line, layout, width)
        or (is_marked and _is_row(separator.join(line).split(separator), layout, width))
        for line in lines
    )


def _lines(row: Sequence[Cell], separator: str) -> Iterator[list[str]]:
    """The physical lines of the row, each split as if nothing in them were quoted."""
    line: list[str] = []
    for cell in row:
        first, *others = str(cell).replace('"', "").splitlines() or [""]
        line.append(first)
        for other in others:
            yield line
            line = other.split(separator)
    yield line


def _is_row(cells: Sequence[str], layout: Layout, width: int) -> bool:
    dated = any(_is_date(cell) for cell in _cells(cells, layout, _DATES))
    valued = any(is_number(cell) for cell in _cells(cells, layout, _VALUES))
    is_whole = len(cells) >= max(width, _NARROWEST)
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
    if any('"' in str(cell) for cell in row[: width - 1]) or _is_split(row, layout):
        return True
    last = {name for name, at in layout.columns.items() if at == width - 1}
    return len(row) != usual and not last & {"description", "notes"}


def _is_split(row: Sequence[Cell], layout: Layout) -> bool:
    """Whether the hundreds of an amount stand in a cell of their own."""
    places = (layout.columns[name] for name in _VALUES if name in layout.columns)
    return any(
        at + 1 < len(row)
        and _THOUSANDS.fullmatch(str(row[at]))
        and _HUNDREDS.fullmatch(str(row[at + 1]))
        for at in places
    )


def _other_mark(row: Sequence[Cell], separator: str, layout: Layout, width: int) -> str:
    """The mark by which the only cell of a row is a row of the table itself, if one is."""
    texts = [str(cell) for cell in row if not is_blank(cell)]
    marks = ";\t|," if len(texts) == 1 else ""
    return next(
        (m for m in marks if m != separator and _is_row(texts[0].split(m), layout, width)), ""
    )


def _is_joined(row: Sequence[Cell], separator: str, layout: Layout) -> bool:
    """Whether a row without an amount has date and amount within one quoted field."""
    texts = [str(cell) for cell in row]
    joined = any(text.count(separator) > 1 and not is_number(text) for text in texts)
    if not joined or any(is_number(cell) for cell in _cells(texts, layout, _VALUES)):
        return False
    cells = separator.join(texts).split(separator)
    return any(map(_is_date, _cells(cells, layout, _DATES))) and any(
        is_number(cell) for cell in _cells(cells, layout, _VALUES)
    )
