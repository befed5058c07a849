"""Finds tables that stand beside the one that is read, parted from it by an empty column."""

from collections.abc import Iterator, Sequence

from wastewise_jobs.analysis.intake.cells import Cell, is_blank
from wastewise_jobs.analysis.intake.headers import Layout, find_layout
from wastewise_jobs.analysis.intake.tables import Notebook, Table

_LOOKED_AT = 200


def note_tables_beside(table: Table, layout: Layout, notebook: Notebook) -> None:
    """Warn of each; one of the same type makes the figures of the other incomplete."""
    rows = table.rows[: _LOOKED_AT + layout.header_row]
    spans = list(_spans(rows[layout.header_row :]))
    if len(spans) < 2:  # noqa: PLR2004  # one table
        return
    found = [other for span in spans if (other := find_layout(_within(rows, span)))]
    for other in found[1:] if len(found) > 1 else ():
        is_same = found[0].file_type == other.file_type
        code = "table_beside" if is_same else "table_not_read"
        names = ", ".join(filter(None, other.headers))[:100]
        message = f"Two tables stand beside each other and only one was read; the other: {names}."
        notebook.warn(code, message, table=table, row=other.header_row + 1)


def _spans(rows: Sequence[Sequence[Cell]]) -> Iterator[range]:
    """The columns between those that are empty."""
    filled = {at for row in rows for at, cell in enumerate(row) if not is_blank(cell)}
    first = None
    for at in range(max(filled, default=-1) + 2):
        if at in filled:
            first = at if first is None else first
        elif first is not None:
            yield range(first, at)
            first = None


def _within(rows: Sequence[Sequence[Cell]], span: range) -> list[list[Cell]]:
    return [[cell if at in span else None for at, cell in enumerate(row)] for row in rows]
