"""Reads a CSV file as exports write it: four separators, any line end, UTF-8 and what is not.

A row is a record of the file, so that its number is the one that a spreadsheet shows; a quote that
never closes would make one record of many rows, and is refused.
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from itertools import islice

from wastewise_jobs.analysis.errors import Problem, UnreadableFilesError
from wastewise_jobs.analysis.intake.cells import Cell
from wastewise_jobs.analysis.intake.encodings import decode
from wastewise_jobs.analysis.intake.tables import MOST_ROWS, Notebook, Table

_SEPARATORS = ",;\t|"
_SNIFFED_ROWS = 40
_HINT = re.compile(r"sep=(?P<mark>.)[ ,;]*(?=[\r\n])", re.IGNORECASE)
# A line of its own behind the last one, unless a quote is still open there.
_END = "end of file"
# How many columns of a row have a meaning to us: what tells the separator.
Score = Callable[[Sequence[Cell]], int]


def read_csv(
    name: str, content: bytes, notebook: Notebook, score: Score, *, whole: bool = True
) -> Table:
    """The file as one table without a sheet name; of a part of a file the last field may be open.

    Raises `UnreadableFilesError`.
    """
    text = decode(name, content, notebook)
    separator = None
    if hint := _HINT.match(text):
        # Excel's own hint; the line stays in the count of rows.
        separator, text = hint["mark"], text[hint.end() :]
    separator = separator or max(_SEPARATORS, key=lambda mark: _fitness(text, mark, score))
    rows = _parse(name, text, separator, whole=whole)
    return Table(name, None, rows, separator=separator)


def _fitness(text: str, separator: str, score: Score) -> tuple[int, int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = list(islice(reader, _SNIFFED_ROWS))
    except csv.Error:
        return 0, 0
    return max(map(score, rows), default=0), max(map(len, rows), default=0)


def _parse(name: str, text: str, separator: str, *, whole: bool) -> list[list[str]]:
    ended = text if text.endswith(("\n", "\r")) else f"{text}\n"
    reader = csv.reader(io.StringIO(ended + _END, newline=""), delimiter=separator)
    rows: list[list[str]] = []
    try:
        for row in reader:
            rows.append(row)
            if len(rows) > MOST_ROWS + 1:
                raise UnreadableFilesError([Problem(f"has more than {MOST_ROWS} rows", name)])
    except csv.Error as error:
        problem = f"is not a CSV file: {error}"
        raise UnreadableFilesError([Problem(problem, name, row=len(rows) + 1)]) from None
    if rows.pop() != [_END] and whole:
        problem = 'a quotation mark (") opens a field here that never ends: remove or double it'
        raise UnreadableFilesError([Problem(problem, name, row=len(rows) + 1)])
    return rows
