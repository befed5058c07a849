"""What is settled about a sheet as a whole before its rows are read one by one.

Hidden rows and columns, cells whose value is missing or an error, the order of its dates, and whose
rows they are.
"""

from collections.abc import Sequence

from wastewise_jobs.analysis.choices import Choices
from wastewise_jobs.analysis.intake.cells import is_error_value
from wastewise_jobs.analysis.intake.dates import date_styles
from wastewise_jobs.analysis.intake.locations import Locations
from wastewise_jobs.analysis.intake.rowreader import Row, RowReader

_TEXTS = ("invoice_number", "vendor", "service_type", "description", "time", "container_type",
          "location", "notes")  # fmt: skip


def prepare(reader: RowReader, choices: Choices, locations: Locations) -> None:
    """Settle it, and note what is guessed."""
    if reader.layout.header_rows > 1:
        message = "The names of the columns stand in two rows and were read together."
        reader.warn("two_row_header", message, reader.layout.header_row + 1)
    _leave_out_hidden(reader)
    rows = list(reader)
    reader.skipped.clear()
    locations.look_at(reader, rows)
    rows = [row for row in rows if row[0] not in reader.left_out]
    _note_missing(reader, rows)
    reader.decimal = choices.decimal
    reader.styles = date_styles(reader, rows, choices.date_order)


def _leave_out_hidden(reader: RowReader) -> None:
    marks, first = reader.table.marks, reader.layout.header_row + 2
    hidden = sorted(row for row in marks.hidden_rows if row >= first)
    if hidden:
        reader.left_out |= dict.fromkeys(hidden, "hidden rows")
        rows = "One row is" if len(hidden) == 1 else f"{len(hidden)} rows are"
        message = (
            f"{rows} hidden, by a filter or by hand: left out. Show what belongs to the property "
            "and upload the file again."
        )
        for row in hidden:
            reader.warn("hidden_rows", message, row)
    for row in sorted(row for row in marks.folded_rows if row >= first):
        reader.warn("folded_rows", "Rows that are folded away in a group were counted.", row)
    for name, at in reader.layout.columns.items():
        if at in marks.hidden_columns:
            message = "The column is hidden: it was read."
            reader.warn("hidden_column", message, reader.layout.header_row + 1, name)


def _note_missing(reader: RowReader, rows: Sequence[Row]) -> None:
    """Texts that a failed formula left, and those that were never calculated."""
    columns = [(name, at) for name in _TEXTS if (at := reader.layout.columns.get(name)) is not None]
    missing = reader.table.marks.uncalculated
    for number, row in rows:
        for name, at in columns:
            cell = row[at] if at < len(row) else None
            if is_error_value(cell):
                message = f"Formulas failed: {cell} stands there in place of a text."
                reader.warn("error_value", message, number, name)
            elif cell is None and (number, at) in missing:
                message = (
                    "Formulas were never calculated: the cells count as empty. Open and save the "
                    "workbook in a spreadsheet program."
                )
                reader.warn("formula_without_value", message, number, name)
