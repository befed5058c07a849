"""Files to typed rows: what can be read is, what is odd is noted, what cannot be read is refused.

    SourceFile ─ csv_table | workbook ─▶ Table ─ headers ─▶ Layout ─ invoices | hauls ─▶ rows

`extract` reads every sheet of every file before it refuses any, so that one upload of corrected
files is enough.
"""

from collections.abc import Sequence

from wastewise_jobs.analysis.choices import NO_CHOICES, Choices
from wastewise_jobs.analysis.errors import NoDataError, Problem, UnreadableFilesError
from wastewise_jobs.analysis.extraction import Extraction
from wastewise_jobs.analysis.intake.beside import note_tables_beside
from wastewise_jobs.analysis.intake.cells import is_blank
from wastewise_jobs.analysis.intake.csv_table import read_csv
from wastewise_jobs.analysis.intake.doubles import note_summary_sheets
from wastewise_jobs.analysis.intake.encodings import unicode_of
from wastewise_jobs.analysis.intake.hauls import read_hauls
from wastewise_jobs.analysis.intake.headers import (
    SEARCHED_ROWS,
    WANTED,
    Layout,
    find_layout,
    looks_like_ledger,
    score,
)
from wastewise_jobs.analysis.intake.invoices import read_invoices
from wastewise_jobs.analysis.intake.locations import Locations
from wastewise_jobs.analysis.intake.oddities import note_oddities, note_stretched
from wastewise_jobs.analysis.intake.prepare import prepare
from wastewise_jobs.analysis.intake.quotes import note_broken_rows
from wastewise_jobs.analysis.intake.repeats import (
    without_repeated_hauls,
    without_repeated_lines,
)
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.intake.workbook import first_rows, read_workbook
from wastewise_jobs.analysis.model import (
    HAUL_LOG,
    INVOICE,
    FileSummary,
    Haul,
    InvoiceLine,
    SourceFile,
)
from wastewise_jobs.analysis.text import clean

__all__ = ["extract", "recognise"]

_NOTHING = Problem("there is no file to read")
_SHOWN_COLUMNS = 8
_GLANCED_BYTES = 2**18
_GLANCED_ROWS = 200


def recognise(name: str, content: bytes) -> str | None:
    """What the file is by its header row: `invoice`, `haul_log` or None.

    Only the first rows are looked at: 256 KiB of a CSV file, 200 rows of each sheet of a workbook.
    Of a workbook that holds both, the type with more of these rows. Never raises for what it cannot
    read. Bounds for whoever gives it a process of its own: a workbook inflates to at most 32 MiB
    and a million XML elements, which takes some 2 seconds of a core and 150 MiB at most.
    """
    try:
        tables = _glance(clean(name), content)
    except UnreadableFilesError:
        return None
    rows: dict[str, int] = {}
    for table in tables:
        if layout := find_layout(table.rows):
            rows[layout.file_type] = rows.get(layout.file_type, 0) + len(table.rows)
    return max(rows, key=lambda file_type: rows[file_type]) if rows else None


def extract(files: Sequence[SourceFile], choices: Choices = NO_CHOICES) -> Extraction:
    """The charge lines and hauls of all files, with what was odd about them.

    Raises `UnreadableFilesError` with every place that cannot be read, `UnknownLocationError` for a
    chosen location that no file names, and `NoDataError` when the files hold no row at all.
    """
    notebook = Notebook()
    lines: list[InvoiceLine] = []
    hauls: list[Haul] = []
    summaries: list[FileSummary] = []
    locations = Locations(choices.locations)
    for file in _distinct(files, notebook):
        try:
            tables = _tables(file, notebook)
        except UnreadableFilesError as error:
            notebook.problem(error.problems[0])
            continue
        readers = _readers(file, tables, notebook)
        locations.begin(readers)
        for reader in readers:
            prepare(reader, choices, locations)
            if reader.layout.file_type == INVOICE:
                lines += read_invoices(reader)
            else:
                hauls += read_hauls(reader)
            _warn_if_empty(reader)
            summaries.append(reader.summary())
    if notebook.problems:
        raise UnreadableFilesError(notebook.problems, notebook.problem_count)
    lines = without_repeated_lines(lines, locations.of, notebook)
    hauls = without_repeated_hauls(hauls, locations.of, notebook)
    locations.finish(lines, notebook)
    if not lines and not hauls:
        raise NoDataError([_nothing_in(summary) for summary in summaries] or [_NOTHING])
    note_summary_sheets(lines, notebook)
    note_stretched(lines, notebook)
    note_oddities(hauls, notebook)
    return Extraction(tuple(lines), tuple(hauls), notebook.notices(), tuple(summaries))


def _nothing_in(summary: FileSummary) -> Problem:
    what = "charge line" if summary.file_type == INVOICE else "haul"
    problem = f"holds no {what} below its header in row {summary.header_row}"
    if "hidden rows" in dict(summary.skipped):
        problem += ": what is there is hidden, by a filter or by hand"
    return Problem(problem, summary.file, summary.sheet)


def _distinct(files: Sequence[SourceFile], notebook: Notebook) -> list[SourceFile]:
    """Each content once: the same export under two names would double the spend."""
    seen: dict[bytes, str] = {}
    distinct: list[SourceFile] = []
    for file in files:
        name = clean(file.name)
        if file.content in seen:
            message = f"Same content as {seen[file.content]}: left out."
            notebook.warn("same_file_twice", message, table=Table(name, None, ()))
            continue
        seen[file.content] = name
        distinct.append(SourceFile(name, file.content, file.file_type))
    return distinct


def _tables(file: SourceFile, notebook: Notebook) -> list[Table]:
    name = clean(file.name)
    if not file.content.strip():
        raise UnreadableFilesError([Problem("is empty", name)])
    if file.content.startswith(b"PK"):
        return read_workbook(name, file.content, notebook)
    return [read_csv(name, file.content, notebook, score)]


def _glance(name: str, content: bytes) -> list[Table]:
    if content.startswith(b"PK"):
        return first_rows(name, content, _GLANCED_ROWS)
    head = content[:_GLANCED_BYTES]
    if (codec := unicode_of(head)).startswith("utf-16"):
        head = head.decode(codec, "ignore").encode()
    whole = len(content) <= _GLANCED_BYTES
    if not whole:
        head = head[: head.rfind(b"\n") + 1] or head
    return [read_csv(name, head, Notebook(), score, whole=whole)] if head.strip() else []


def _readers(file: SourceFile, tables: list[Table], notebook: Notebook) -> list[RowReader]:
    """A reader for each sheet that is recognised; the other sheets are noted."""
    readers: list[RowReader] = []
    unread: list[Table] = []
    for table in tables:
        layout = _layout(table, file.file_type)
        if layout is not None:
            note_broken_rows(table, layout, notebook)
            note_tables_beside(table, layout, notebook)
            readers.append(RowReader(table, layout, notebook))
        elif any(not is_blank(cell) for row in table.rows for cell in row):
            unread.append(table)
    if not readers:
        sheet = unread[0].sheet if len(unread) == 1 else None
        notebook.problem(Problem(_no_header(file, unread), file.name, sheet))
    else:
        for table in unread:
            notebook.warn("sheet_not_read", "Holds no table that is known: not read.", table=table)
    return readers


def _no_header(file: SourceFile, tables: list[Table]) -> str:
    """What was looked for and what was seen instead."""
    none = f"none of its first {SEARCHED_ROWS} rows names"
    if file.file_type == INVOICE:
        problem = f"was given as an invoice, but {none} {WANTED[INVOICE]}"
    elif file.file_type == HAUL_LOG:
        problem = f"was given as a haul log, but {none} {WANTED[HAUL_LOG]}"
    else:
        problem = (
            f"{none} the columns of an invoice ({WANTED[INVOICE]}) "
            f"or of a haul log ({WANTED[HAUL_LOG]})"
        )
    rows = [row for table in tables for row in table.rows[:SEARCHED_ROWS]]
    # The likeliest header: what names most columns that are known, or else most columns.
    likeliest = max(rows, key=lambda row: (score(row), sum(map(bool, row))), default=())
    seen = [clean(str(cell))[:40] for cell in likeliest if not is_blank(cell)][:_SHOWN_COLUMNS]
    if seen:
        problem += f"; the nearest row says: {', '.join(seen)}"
    if looks_like_ledger(likeliest):
        problem += "; it looks like a ledger, but not one whose columns are known"
    if file.name.lower().endswith((".xlsx", ".xlsm")) and not file.content.startswith(b"PK"):
        problem += "; its name is that of a workbook, its content is text"
    return problem


def _layout(table: Table, file_type: str | None) -> Layout | None:
    """The override if the sheet can be read so; a workbook may hold the other type beside it."""
    hidden = table.marks.hidden_columns
    layout = find_layout(table.rows, file_type, hidden) if file_type in WANTED else None
    if layout is not None or (file_type in WANTED and table.sheet is None):
        return layout
    return find_layout(table.rows, None, hidden)


def _warn_if_empty(reader: RowReader) -> None:
    if reader.rows_read == 0 and not reader.left_out and reader.notebook.problem_count == 0:
        header = reader.layout.header_row + 1
        reader.warn("no_rows", "There is nothing below the header row.", header)
