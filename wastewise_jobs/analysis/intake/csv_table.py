"""Reads a CSV file as exports write it: four separators, BOM, CRLF, UTF-8 or Windows-1252."""

import csv
import io
from collections.abc import Callable, Sequence
from itertools import islice

from wastewise_jobs.analysis.errors import Problem, UnreadableFilesError
from wastewise_jobs.analysis.intake.cells import Cell
from wastewise_jobs.analysis.intake.tables import MOST_ROWS, Notebook, Table

_SEPARATORS = ",;\t|"
_SNIFFED_ROWS = 40
_BINARY = {
    b"%PDF": "is a PDF; export the invoice lines as CSV or XLSX",
    b"\xd0\xcf\x11\xe0": "is an old or password-protected Excel file; save it as .xlsx without one",
    b"\x1f\x8b": "is compressed; upload the CSV or XLSX file itself",
    b"\x89PNG": "is an image; export the lines as CSV or XLSX",
    b"\xff\xd8\xff": "is an image; export the lines as CSV or XLSX",
}

# How many columns of a row have a meaning to us: what tells the separator.
Score = Callable[[Sequence[Cell]], int]


def read_csv(name: str, content: bytes, notebook: Notebook, score: Score) -> Table:
    """The file as one table without a sheet name. Raises `UnreadableFilesError`."""
    text = _decode(name, content, notebook)
    first, _, rest = text.partition("\n")
    separator = None
    if first.strip().casefold().startswith("sep=") and len(first.strip()) == 5:  # noqa: PLR2004
        # Excel's own hint; the line stays in the count of rows.
        separator, text = first.strip()[4], f"\n{rest}"
    separator = separator or max(_SEPARATORS, key=lambda mark: _fitness(text, mark, score))
    return Table(name, None, _parse(name, text, separator))


def _decode(name: str, content: bytes, notebook: Notebook) -> str:
    for magic, problem in _BINARY.items():
        if content.startswith(magic):
            raise UnreadableFilesError([Problem(problem, name)])
    if content.lstrip()[:200].lower().startswith((b"<html", b"<!doctype", b"<table", b"<?xml")):
        raise UnreadableFilesError([Problem("is a web page or XML; save it as CSV or XLSX", name)])
    try:
        utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = _decode_windows(name, content)
        notebook.warn("encoding", "Not UTF-8: read as Windows-1252.", table=Table(name, None, ()))
    if (nul := text.find("\0")) >= 0:
        row = text.count("\n", 0, nul) + 1
        raise UnreadableFilesError(
            [Problem("holds a NUL character: not a text file", name, row=row)]
        )
    return text


def _decode_windows(name: str, content: bytes) -> str:
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        problem = "is neither UTF-8 nor Windows-1252 text"
        raise UnreadableFilesError([Problem(problem, name, row=row)]) from None


def _fitness(text: str, separator: str, score: Score) -> tuple[int, int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = list(islice(reader, _SNIFFED_ROWS))
    except csv.Error:
        return 0, 0
    return max(map(score, rows), default=0), max(map(len, rows), default=0)


def _parse(name: str, text: str, separator: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows: list[list[str]] = []
    try:
        for row in reader:
            rows.append(row)
            if len(rows) > MOST_ROWS:
                raise UnreadableFilesError([Problem(f"has more than {MOST_ROWS} rows", name)])
    except csv.Error as error:
        problem = f"is not a CSV file: {error}"
        raise UnreadableFilesError([Problem(problem, name, row=len(rows) + 1)]) from None
    return rows
