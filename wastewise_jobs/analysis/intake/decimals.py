"""Decides for a column of numbers whether its decimal mark is a point or a comma.

`1.250` alone is either. A column tells when one of its numbers can be written in one way only; a
weight tells when one reading is no haul. What stays open is read as money and scales are usually
written, and both readings are named.
"""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from statistics import median

from wastewise_jobs.analysis.intake.cells import Cell, is_european, number_body, number_of
from wastewise_jobs.analysis.intake.rowreader import RowReader

_POINT = re.compile(r"\d+\.(?:\d{1,2}|\d{4,})|\.\d+|0\.\d+|\d{4,}\.\d+|\d{1,3}(?:,\d{3})+\.\d*"
                    r"|\d{1,3}(?:,\d{3}){2,}")  # fmt: skip
_COMMA = re.compile(r"\d+,(?:\d{1,2}|\d{4,})|0,\d+|\d{4,},\d+|\d{1,3}(?:\.\d{3})+,\d+"
                    r"|\d{1,3}(?:\.\d{3}){2,}")  # fmt: skip
_POINT_OR_GROUP = re.compile(r"[1-9]\d{0,2}\.\d{3}")
_COMMA_OR_GROUP = re.compile(r"[1-9]\d{0,2},\d{3}")

# What a program writes whose decimal mark is a point.
_POINT_SEPARATORS = {",", "\t", "|"}
_MOST_TONS = 100
_FEWEST_POUNDS = 100

Numbered = tuple[int, Cell]


def is_decimal_comma(reader: RowReader, name: str) -> bool:
    """Whether the column writes 1.234,50; what is guessed is noted, what contradicts is refused."""
    at = reader.layout.columns[name]
    cells = [(number, row[at]) for number, row in reader if at < len(row)]
    reader.skipped.clear()
    header = reader.layout.header_row + 1
    bodies = [(number, body) for number, cell in cells if (body := number_body(cell))]
    if reader.decimal is not None:
        _refuse_contradictions(reader, name, bodies)
        return reader.decimal == ","
    has_comma = any(_COMMA.fullmatch(body) for _, body in bodies)
    has_point = any(_POINT.fullmatch(body) for _, body in bodies)
    either = [(number, body) for number, body in bodies if _POINT_OR_GROUP.fullmatch(body)]
    european = is_european([cell for _, cell in cells])
    if has_comma and has_point:
        _note_both(reader, name, bodies)
        return european
    if not has_comma and not has_point:
        european = _by_size(reader, name, cells, either, bodies)
    if european:
        reader.warn("european_numbers", "Numbers were read as 1.234,50.", header, name)
        _note_stored(reader, name, cells)
    return european


def _refuse_contradictions(reader: RowReader, name: str, bodies: Sequence[tuple[int, str]]) -> None:
    wrong, mark = (_POINT, "comma") if reader.decimal == "," else (_COMMA, "point")
    for number, body in bodies:
        if wrong.fullmatch(body):
            problem = f'"{body}" is not a number whose decimal mark is a {mark}'
            reader.problem(number, name, problem)


def _note_both(reader: RowReader, name: str, bodies: Sequence[tuple[int, str]]) -> None:
    message = (
        "Some numbers are written 1,234.50 and others 1.234,50: each was read as it is written; "
        'decide with decimal ("." or ",").'
    )
    for number, body in bodies:
        if _COMMA.fullmatch(body):
            reader.warn("decimal_mark_mixed", message, number, name)
    open_ones = [
        (number, body)
        for number, body in bodies
        if _POINT_OR_GROUP.fullmatch(body) or _COMMA_OR_GROUP.fullmatch(body)
    ]
    _note_open(reader, name, open_ones, european=False)


def _by_size(
    reader: RowReader,
    name: str,
    cells: Sequence[Numbered],
    either: Sequence[tuple[int, str]],
    bodies: Sequence[tuple[int, str]],
) -> bool:
    """The mark where every number could have either, by what a sum of money or a haul can be."""
    middle = _middle(cell for _, cell in cells)
    grouped = [(number, body) for number, body in bodies if _COMMA_OR_GROUP.fullmatch(body)]
    if name not in {"tons", "pounds", "weight"}:
        return _by_separator(reader, name, either, grouped)
    if name == "pounds":
        return bool(either) and middle < _FEWEST_POUNDS
    if name == "tons":
        return bool(grouped) and middle > _MOST_TONS
    _note_open(reader, name, either, european=False)
    return False


def _by_separator(
    reader: RowReader,
    name: str,
    either: Sequence[tuple[int, str]],
    grouped: Sequence[tuple[int, str]],
) -> bool:
    """Money has cents, not mills: three places are a group, unless the commas separate fields."""
    separator = reader.table.separator
    european = bool(either) and separator not in _POINT_SEPARATORS
    _note_open(reader, name, either, european=european)
    if separator == ";" and not either:
        # Who separates by semicolons writes decimal commas.
        _note_open(reader, name, grouped, european=False)
    return european


def _note_open(
    reader: RowReader, name: str, either: Sequence[tuple[int, str]], *, european: bool
) -> None:
    if not either:
        return
    body = either[0][1]
    readings = [number_of(body, european=True), number_of(body, european=False)]
    if readings[0] == readings[1]:
        readings = [Decimal(body.replace(",", ".")), Decimal(body.replace(",", ""))]
    read = number_of(body, european=european)
    message = (
        f"{body} may be {max(readings):f} or {min(readings):f}: numbers like it were read as "
        f'{read:f}; decide with decimal ("." or ",").'
    )
    for number, _ in either:
        reader.warn("decimal_mark_ambiguous", message, number, name)


def _note_stored(reader: RowReader, name: str, cells: Sequence[Numbered]) -> None:
    """A program that did not know the comma turned `1.250` into 1.25 and left `980,50` a text."""
    for number, cell in cells:
        if isinstance(cell, float) and not cell.is_integer():
            message = (
                "Some numbers are stored as numbers, others as text with a decimal comma: the "
                "stored ones may have been misread before."
            )
            reader.warn("numbers_misread_before", message, number, name)


def _middle(cells: Iterable[Cell]) -> Decimal:
    numbers: list[Decimal] = []
    for cell in cells:
        try:
            numbers.append(number_of(cell))
        except ValueError:
            continue
    return Decimal(median(numbers)) if numbers else Decimal(0)
