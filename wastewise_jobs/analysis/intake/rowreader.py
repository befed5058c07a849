"""What reading an invoice sheet and a haul log have in common: cells by field, rows to skip."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from wastewise_jobs.analysis.errors import Problem
from wastewise_jobs.analysis.intake.cells import Cell, date_of, is_blank, is_serial, text_of
from wastewise_jobs.analysis.intake.headers import Layout
from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.model import FileSummary, Place, ranges

T = TypeVar("T")

_TOTAL = re.compile(
    r"(?:(?:sub|grand|invoice|account|report|page|monthly|annual|ytd|year|vendor|site)[\s-]*)*totals?"
    r"(?:\s*(?:due|charges?|amount|tons?|tonnage|hauls?|for\b.*|:.*|-.*))?\s*:?"
    r"|(?:amount|balance) due:?|sum:?|averages?:?",
    re.IGNORECASE,
)


@dataclass(slots=True)
class RowReader:
    """Walks over the rows below the header and hands out cells by field.

    `skipped` says which rows were left out and why.
    """

    table: Table
    layout: Layout
    notebook: Notebook
    skipped: dict[str, list[int]] = field(default_factory=dict)
    rows_read: int = 0

    def __iter__(self) -> Iterator[tuple[int, Sequence[Cell]]]:
        header = [text_of(cell) for cell in self.table.rows[self.layout.header_row]]
        for at in range(self.layout.header_row + 1, len(self.table.rows)):
            row = self.table.rows[at]
            if all(map(is_blank, row)):
                self.skip("blank", at + 1)
            elif [text_of(cell) for cell in row] == header:
                self.skip("repeated header", at + 1)
            else:
                yield at + 1, row

    def skip(self, reason: str, row: int) -> None:
        """Leave the row out."""
        self.skipped.setdefault(reason, []).append(row)

    def skip_and_warn(self, reason: str, row: int, message: str) -> None:
        """Leave the row out and say so in the result."""
        self.skip(reason, row)
        self.warn(f"{reason.replace(' ', '_')}_skipped", message, row)

    def cell(self, row: Sequence[Cell], name: str) -> Cell:
        """The cell of a field; None where the sheet or the row has no such column."""
        at = self.layout.columns.get(name)
        return row[at] if at is not None and at < len(row) else None

    def text(self, row: Sequence[Cell], name: str) -> str:
        """The cell of a field as text."""
        return text_of(self.cell(row, name))

    def read(self, number: int, name: str, cell: Cell, parse: Callable[[Cell], T]) -> T | None:
        """The parsed cell; None, and a problem noted, when it cannot be read."""
        try:
            return parse(cell)
        except ValueError as error:
            self.problem(number, name, str(error))
            return None

    def day(self, number: int, row: Sequence[Cell], name: str) -> date | None:
        """The date of a field; None when blank or unreadable."""
        cell = self.cell(row, name)
        if is_blank(cell):
            return None
        if is_serial(cell):
            self.warn(
                "date_as_number", "Dates stored as plain numbers were read as dates.", number, name
            )
        return self.read(number, name, cell, date_of)

    def problem(self, number: int, name: str | None, problem: str) -> None:
        """Note what cannot be read."""
        column = self._header(name)
        self.notebook.problem(Problem(problem, self.table.file, self.table.sheet, number, column))

    def warn(self, code: str, message: str, row: int, name: str | None = None) -> None:
        """Note what is odd."""
        column = self._header(name)
        self.notebook.warn(code, message, table=self.table, row=row, column=column)

    def _header(self, name: str | None) -> str | None:
        return self.layout.header(name) if name and name in self.layout.columns else None

    def is_total(self, row: Sequence[Cell], *, dated: bool) -> bool:
        """Whether the row adds up others: a cell says so, and nothing but that describes it."""
        texts = [text for cell in row if isinstance(cell, str) and (text := cell.strip())]
        if dated:
            described = self.text(row, "description") or self.text(row, "service_type")
            return bool(_TOTAL.fullmatch(described))
        return any(_TOTAL.fullmatch(text) for text in texts)

    def place(self, number: int) -> Place:
        """Where the row is."""
        return Place(self.table.file, self.table.sheet, number)

    def summary(self) -> FileSummary:
        """What was read and what was left out."""
        return FileSummary(
            file=self.table.file,
            sheet=self.table.sheet,
            file_type=self.layout.file_type,
            rows_read=self.rows_read,
            header_row=self.layout.header_row + 1,
            columns=tuple((name, self.layout.header(name)) for name in self.layout.columns),
            ignored_columns=tuple(name[:60] for name in self.layout.ignored[:20]),
            skipped=tuple((reason, ranges(rows)) for reason, rows in self.skipped.items()),
        )
