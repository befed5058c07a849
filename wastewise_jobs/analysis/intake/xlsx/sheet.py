"""The cells of one sheet, pulled through expat as they come.

Only values are held: what is merely formatted costs nothing, wherever it lies. A cell is as wide as
its row has values before it, so what is held never exceeds the rectangle that the budget counts.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from wastewise_jobs.analysis.intake.cells import Cell
from wastewise_jobs.analysis.intake.tables import MOST_ROWS, Marks
from wastewise_jobs.analysis.intake.xlsx.archive import Archive, local, new_parser, unescaped
from wastewise_jobs.analysis.intake.xlsx.strings import SharedStrings
from wastewise_jobs.analysis.intake.xlsx.styles import Styles

_TRUE = {"1", "true"}
_WIDEST = 16_384
# Most sheets have few dates in many cells.
_REMEMBERED = 10_000


class SheetReader:
    """Reads one sheet; `rows` and `marks` are what was found so far."""

    def __init__(
        self,
        archive: Archive,
        title: str,
        strings: SharedStrings,
        styles: Styles | None,
        *,
        most_rows: int | None = None,
    ) -> None:
        self._archive = archive
        self._title = title
        self._strings = strings
        self._kinds = styles.kinds if styles else {}
        self._styles = styles
        self._most_rows = most_rows
        self._rows: dict[int, list[Cell]] = {}
        self._widest = 0
        self._hidden: set[int] = set()
        self._folded: set[int] = set()
        self._hidden_columns: set[int] = set()
        self._uncalculated: set[tuple[int, int]] = set()
        self._dates: dict[tuple[str, str], Cell] = {}
        # The row and the cell that are open.
        self._row = self._column = 0
        self._cells: list[Cell] = []
        self._value: str | None = None
        self._inline: list[str] = []
        self._text: list[str] = []
        self._type = self._style = ""
        self._has_formula = False
        self._pronounced = 0

    def read(self, path: str) -> None:
        """Pull the part, to its end or as far as `most_rows` asks."""
        parser = new_parser()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        for _ in self._archive.parse(path, parser):
            if self._most_rows is not None and self._row > self._most_rows:
                break
        self._close_row()
        self._archive.budget.take_reach(max(self._rows, default=0), self._widest)

    @property
    def rows(self) -> Sequence[Sequence[Cell]]:
        """The rows from the first to the last value; rows without one are empty."""
        last = max(self._rows, default=0)
        return [self._rows.get(row, ()) for row in range(1, last + 1)]

    @property
    def marks(self) -> Marks:
        """What the sheet says about its rows and columns; only rows with a value count."""
        return Marks(
            hidden_rows=frozenset(self._hidden & self._rows.keys()),
            folded_rows=frozenset(self._folded & self._rows.keys()),
            hidden_columns=frozenset(self._hidden_columns),
            uncalculated=frozenset(self._uncalculated),
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = local(name)
        if tag == "v":
            self._text = []
        elif tag == "c":
            self._open_cell(attributes)
        elif tag == "row":
            self._open_row(attributes)
        elif tag == "f":
            self._has_formula = True
        elif tag == "t":
            self._text = []
        elif tag == "rPh":
            self._pronounced += 1
        elif tag == "col":
            self._note_column(attributes)

    def _characters(self, data: str) -> None:
        self._text.append(data)

    def _end(self, name: str) -> None:
        tag = local(name)
        if tag == "v":
            self._value = "".join(self._text)
        elif tag == "c":
            self._close_cell()
        elif tag == "t":
            if not self._pronounced:
                self._inline.extend(self._text)
        elif tag == "rPh":
            self._pronounced -= 1
        elif tag == "row":
            self._close_row()

    def _open_row(self, attributes: dict[str, str]) -> None:
        self._close_row()
        self._row = int(attributes["r"]) if "r" in attributes else self._row + 1
        if attributes.get("hidden") in _TRUE and self._row <= MOST_ROWS:
            folded = attributes.get("outlineLevel", "0") != "0"
            (self._folded if folded else self._hidden).add(self._row)

    def _open_cell(self, attributes: dict[str, str]) -> None:
        place = attributes.get("r")
        if place is None:
            self._column += 1
        else:
            row, self._column = _place(place)
            if row != self._row:
                self._move_to(row)
        self._type = attributes.get("t", "n")
        self._style = attributes.get("s", "")
        self._value = None
        self._has_formula = False
        if self._inline:
            self._inline = []

    def _move_to(self, row: int) -> None:
        column = self._column
        self._close_row()
        self._row, self._column = row, column

    def _close_cell(self) -> None:
        text = self._value
        if text is None and not self._inline:
            if self._has_formula and len(self._uncalculated) < MOST_ROWS:
                self._uncalculated.add((self._row, self._column - 1))
            return
        value = self._read("".join(self._inline) if text is None else text, inline=text is None)
        if value is None or value == "":
            return
        gap = self._column - 1 - len(self._cells)
        if gap > 0:
            if self._column > self._widest:
                self._check_reach()
            self._cells.extend([None] * gap)
        if gap < 0:
            self._cells[self._column - 1] = value
        else:
            self._cells.append(value)

    def _read(self, text: str, *, inline: bool) -> Cell:
        kind = self._type
        if kind == "s" and not inline:
            return self._strings[int(text)]
        if kind == "n" and not inline:
            return self._number(text)
        if kind == "b":
            return text.strip() in _TRUE
        if kind == "d":
            return _iso(text)
        # A text that stands in the wrong element is still the text that the cell shows.
        if self._inline and kind == "inlineStr":
            text = "".join(self._inline)
        self._archive.budget.take_characters(len(text))
        return unescaped(text)

    def _number(self, text: str) -> Cell:
        kind = self._kinds.get(self._style)
        try:
            number = float(text)
        except ValueError:
            return text.strip()
        if kind is None or self._styles is None:
            return number
        key = (kind, text)
        if key not in self._dates:
            if len(self._dates) >= _REMEMBERED:
                self._dates.clear()
            self._dates[key] = self._styles.shown(kind, number)
        return self._dates[key]

    def _close_row(self) -> None:
        self._column = 0
        if not self._cells:
            return
        self._widest = max(self._widest, len(self._cells))
        if self._row in self._rows:
            raise ValueError(f"row {self._row} comes twice")
        self._rows[self._row] = self._cells
        self._cells = []
        self._check_reach()

    def _check_reach(self) -> None:
        if self._row < 1:
            raise ValueError(f"a cell in row {self._row}")
        if self._row > MOST_ROWS:
            problem = (
                f"has a sheet of more than {MOST_ROWS} rows: row {self._row} holds a value; "
                "delete what lies below the table, or split it"
            )
            raise self._archive.budget.refusal(problem, self._title)
        columns = max(self._widest, self._column, len(self._cells))
        if columns > _WIDEST:
            raise ValueError(f"a cell in column {columns}")
        self._archive.budget.check_reach(self._title, self._row, columns)

    def _note_column(self, attributes: dict[str, str]) -> None:
        if attributes.get("hidden") in _TRUE:
            first, last = int(attributes["min"]), min(int(attributes["max"]), _WIDEST)
            self._hidden_columns.update(range(first - 1, last))


def _iso(text: str) -> Cell:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    midnight = "T" not in text or moment.time() == datetime.min.time()
    return moment.date() if midnight else moment


def _place(place: str) -> tuple[int, int]:
    letters = place.rstrip("0123456789")
    return int(place[len(letters) :]), _column_number(letters)


@lru_cache(maxsize=_WIDEST)
def _column_number(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        if not "A" <= letter <= "Z":
            raise ValueError("a cell without a column")
        number = number * 26 + ord(letter) - 64
    if not 1 <= number <= _WIDEST:
        raise ValueError(f"column {letters!r:.12} is beyond the last")
    return number
