"""Reads an XLSX file without letting it choose how much memory that takes.

calamine allocates a sheet from its first to its last cell, trusts what the archive says about
sizes and clones every shared string: a few kilobytes can ask it for gigabytes. So the archive is
unpacked here under limits, measured with expat, and calamine only sees the copy that we packed.
"""

import io
import zipfile
import zlib
from functools import lru_cache
from xml.parsers import expat

from wastewise_jobs.analysis.errors import Problem, UnreadableFilesError
from wastewise_jobs.analysis.intake.tables import MOST_ROWS, Notebook, Table
from wastewise_jobs.analysis.text import clean

MOST_BYTES = 128 * 2**20
MOST_PARTS = 2_000
MOST_SHEETS = 100
MOST_CELLS = 3_000_000
MOST_STRING_BYTES = 400 * 2**20
_PARTS = ("[Content_Types].xml", "_rels/", "xl/")
# Nothing in them holds a cell; pivot caches and drawings are only a way to be large.
_SKIPPED = ("xl/media/", "xl/drawings/", "xl/charts/", "xl/pivot", "xl/theme/", "xl/externalLinks/")


def read_workbook(name: str, content: bytes, notebook: Notebook) -> list[Table]:
    """Every visible worksheet, formulas by the value that was stored with them.

    Raises `UnreadableFilesError` for what is no workbook, is damaged, encrypted or too large.
    """
    from python_calamine import CalamineError, SheetVisibleEnum, load_workbook

    try:
        book = load_workbook(io.BytesIO(_repacked(name, content)))
        tables: list[Table] = []
        if len(book.sheets_metadata) > MOST_SHEETS:
            raise UnreadableFilesError([Problem(f"has more than {MOST_SHEETS} sheets", name)])
        for index, sheet in enumerate(book.sheets_metadata):
            title = clean(sheet.name)
            if "WorkSheet" not in str(sheet.typ):
                continue
            if sheet.visible is not SheetVisibleEnum.Visible:
                notebook.warn(
                    "hidden_sheet", "A hidden sheet was not read.", table=Table(name, title, ())
                )
                continue
            rows = book.get_sheet_by_index(index).to_python(skip_empty_area=False)
            tables.append(Table(name, title, rows))
    except CalamineError as error:
        problem = f"is not a readable workbook: {clean(str(error))}"
        raise UnreadableFilesError([Problem(problem, name)]) from None
    return tables


def _repacked(name: str, content: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = _unpack(name, archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError):
        problem = "is damaged, encrypted or not an XLSX workbook"
        raise UnreadableFilesError([Problem(problem, name)]) from None
    if "xl/workbook.xml" not in parts:
        raise UnreadableFilesError([Problem("is not an XLSX workbook; save it as .xlsx", name)])
    _measure(name, parts)
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    return copy.getvalue()


def _unpack(name: str, archive: zipfile.ZipFile) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    left = MOST_BYTES
    entries = archive.infolist()
    if len(entries) > MOST_PARTS:
        raise UnreadableFilesError([Problem(f"holds more than {MOST_PARTS} parts", name)])
    for entry in entries:
        path = entry.filename
        if not path.startswith(_PARTS) or path.startswith(_SKIPPED):
            continue
        if not path.endswith((".xml", ".rels")):
            continue
        left -= entry.file_size
        if left < 0:
            problem = f"unpacks to more than {MOST_BYTES // 2**20} MiB"
            raise UnreadableFilesError([Problem(problem, name)])
        # Never returns more than file_size, whatever the compressed data would unpack to.
        parts[path] = archive.read(entry)
    return parts


def _measure(name: str, parts: dict[str, bytes]) -> None:
    longest = string_cells = 0
    for path, data in parts.items():
        gauge = _Gauge()
        try:
            gauge.read(data)
        except (expat.ExpatError, ValueError, LookupError) as error:
            problem = f"is not a readable workbook: {path}: {error}"
            raise UnreadableFilesError([Problem(problem, name)]) from None
        if gauge.rows > MOST_ROWS:
            raise UnreadableFilesError(
                [Problem(f"has a sheet of more than {MOST_ROWS} rows", name)]
            )
        if gauge.rows * gauge.columns > MOST_CELLS:
            problem = (
                f"has a sheet that reaches to row {gauge.rows}, column {gauge.columns}; "
                "delete the empty rows and columns around the table"
            )
            raise UnreadableFilesError([Problem(problem, name)])
        longest = max(longest, gauge.longest_string)
        string_cells += gauge.string_cells
    if longest * string_cells > MOST_STRING_BYTES:
        raise UnreadableFilesError([Problem("holds too much text", name)])


class _Gauge:
    """How far a part's cells reach and how long its shared strings are, in one pass of expat."""

    def __init__(self) -> None:
        self.rows = self.columns = self.string_cells = self.longest_string = 0
        self._row = self._column = self._characters = 0

    def read(self, data: bytes) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.CharacterDataHandler = self._text if b"<sst" in data[:2000] else None
        parser.Parse(data, True)
        self.longest_string = max(self.longest_string, self._characters)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "c":
            self._cell(attributes)
        elif name == "row":
            self._row = int(attributes["r"]) if "r" in attributes else self._row + 1
            self._column = 0
            self.rows = max(self.rows, self._row)
        elif name == "si":
            self.longest_string = max(self.longest_string, self._characters)
            self._characters = 0

    def _cell(self, attributes: dict[str, str]) -> None:
        place = attributes.get("r")
        if place is None:
            self._column += 1
        else:
            letters = place.rstrip("0123456789")
            self._column = _column_number(letters)
            self.rows = max(self.rows, int(place[len(letters) :]))
        self.columns = max(self.columns, self._column)
        self.string_cells += attributes.get("t") == "s"

    def _text(self, data: str) -> None:
        self._characters += len(data)


def _refuse_doctype(*_: object) -> None:
    raise ValueError("a document type declaration is not allowed")


@lru_cache(maxsize=1024)
def _column_number(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        if not "A" <= letter <= "Z":
            raise ValueError("a cell without a column")
        number = number * 26 + ord(letter) - 64
    return number
