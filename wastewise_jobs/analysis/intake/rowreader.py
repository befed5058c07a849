"""What reading an invoice sheet and a haul log have in common: cells by field, rows to skip."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import partial
from typing import TypeVar

from wastewise_jobs.analysis.errors import Problem
from wastewise_jobs.analysis.intake.cells import (
    USUAL,
    Cell,
    DateStyle,
    date_of,
    is_blank,
    is_error_value,
    is_number,
    is_serial,
    number_of,
    text_of,
)
from wastewise_jobs.analysis.intake.groups import Groups, groups_of, named_total
from wastewise_jobs.analysis.intake.headers import NAMES, Layout, plain
from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.model import FileSummary, Place, ranges

T = TypeVar("T")
# A row with its number, counted from 1.
Row = tuple[int, Sequence[Cell]]

DATES = ("date", "invoice_date", "period_start", "period_end", "period")
_MONTHS = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_LABEL = (
    r"(?:(?:sub|grand|overall|running|invoice|account|report|page|vendor|site|property|location"
    r"|daily|weekly|month(?:ly)?|quarter(?:ly)?|annual|year(?:ly|[ -]to[ -]date)?|ytd"
    rf"|{_MONTHS}|q[1-4]|\d{{4}})[\s.-]*)*(?:totals?|averages?|avg\.?|mean|sum"
    # German, French, Spanish and Portuguese, Italian, Dutch.
    r"|(?:gesamt|end|zwischen)?summe|gesamt(?:betrag|kosten)?|insgesamt|sous[ -]?total|somme"
    r"|total g[eé]n[eé]ral|montant total|suma(?: total)?|importe total|(?:sub)?total general|soma"
    r"|(?:sub)?totale|(?:sub|eind)?totaal(?:bedrag)?)"
)
_BARE = re.compile(rf"{_LABEL}\s*:?", re.IGNORECASE)
_TOTAL = re.compile(
    rf"{_LABEL}(?:\s*(?:due|charges?|amounts?|costs?|tons?|tonnage|weight|hauls?|per|month|result"
    r"|current|new|this|invoices?|period|now|expenses?|bills?|vendors?|payables?|spend|purchases?"
    r"|disbursements?|payments?|credits?|debits?|transactions?))*"
    r"\s*(?:for\b.*|:.*|-.*)?|(?:amount|balance) due:?"
    r"|(?:cost |spend )?per (?:unit|door|home|month)|budget(?:ed)?(?: amount)?|variance",
    re.IGNORECASE,
)
# What a spreadsheet writes below a group: "1001 Total", "Acme Average", "Sum of Tons".
_GROUP = re.compile(
    r".*\b(?:sub-?)?(?:totals?|averages?|sum)\s*:?|(?:sum|average) of .*", re.IGNORECASE
)
# No date has such a word.
_IN_DATE = re.compile(
    r"\b(?:sub-?)?(?:totals?|averages?|avg|mean|median|sum|count|min(?:imum)?|max(?:imum)?)\b",
    re.IGNORECASE,
)
# All of the above hold one of these.
_HINT = re.compile(
    r"total|average|avg|mean|median|sum|som[am]|gesamt|totaal|count|min|max|due|per |budget|varian",
    re.IGNORECASE,
)
_WORDS = re.compile(r"\W*[^\W\d]")


@dataclass(slots=True)
class RowReader:
    """Walks over the rows below the header and hands out cells by field.

    `skipped` says which rows were left out and why; `left_out` are those that it does not walk
    over, with the reason. `styles` says how the dates of a column are written, `decimal` which mark
    a person has chosen.
    """

    table: Table
    layout: Layout
    notebook: Notebook
    skipped: dict[str, list[int]] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)
    groups: Groups = field(init=False)
    rows_read: int = 0
    left_out: dict[int, str] = field(default_factory=dict)
    styles: dict[str, DateStyle] = field(default_factory=dict)
    decimal: str | None = None
    # The columns of a status: that of approval and that of payment stand beside each other.
    statuses: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = NAMES[self.layout.file_type]["status"]
        headers = enumerate(self.layout.headers)
        self.statuses = tuple(at for at, name in headers if plain(name) in names)
        self.groups = groups_of(self.table.rows, self.layout)

    def __iter__(self) -> Iterator[Row]:
        last, count = self.layout.header_row, self.layout.header_rows
        headers = [
            [text_of(cell) for cell in row] for row in self.table.rows[last - count + 1 : last + 1]
        ]
        for at in range(self.layout.header_row + 1, len(self.table.rows)):
            row = self.table.rows[at]
            if all(map(is_blank, row)):
                self.skip("blank", at + 1)
            elif at + 1 in self.left_out:
                self.skip(self.left_out[at + 1], at + 1)
            elif any(_is_same(row, header) for header in headers):
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

    def skip_total(self, row: int) -> None:
        """Leave out a row that sums up others."""
        self.skip_and_warn("total rows", row, "Rows that add up others were left out.")

    def cell(self, row: Sequence[Cell], name: str) -> Cell:
        """The cell of a field; None where the sheet or the row has no such column."""
        at = self.layout.columns.get(name)
        return row[at] if at is not None and at < len(row) else None

    def text(self, row: Sequence[Cell], name: str) -> str:
        """The cell of a field as text."""
        return text_of(self.cell(row, name))

    def read(self, number: int, name: str, cell: Cell, parse: Callable[[Cell], T]) -> T | None:
        """The parsed cell; None, and a problem noted, when it cannot be read."""
        if is_error_value(cell):
            self.problem(number, name, f"holds {text_of(cell)}, the error value of a formula")
            return None
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
        style = self.style(name)
        if is_serial(cell, style):
            since = ", counted from 1904" if style.date1904 else ""
            message = f"Dates stored as plain numbers were read as dates{since}."
            self.warn("date_as_number", message, number, name)
        return self.read(number, name, cell, partial(date_of, style=style))

    def style(self, name: str) -> DateStyle:
        """How the dates of a field are written."""
        return self.styles.get(name, USUAL)

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

    def is_dated(self, row: Sequence[Cell]) -> bool:
        """Whether a date or a period is given, be it readable or not."""
        return any(not is_blank(self.cell(row, name)) for name in DATES)

    def is_total(self, row: Sequence[Cell]) -> bool:
        """Whether the row sums up others: a cell says so, and nothing but that describes it."""
        said = {
            at: text_of(cell)
            for at, cell in enumerate(row)
            if isinstance(cell, str) and _HINT.search(cell)
        }
        if not said:
            return False
        if any(_IN_DATE.search(said.get(at, "")) for at in self._columns(*DATES)):
            return True
        if not self.is_dated(row):
            is_group = any(map(_GROUP.fullmatch, said.values())) or self._is_named(row, said)
            return any(map(_TOTAL.fullmatch, said.values())) or (is_group and _words_in(row) == 1)
        described = self.text(row, "description") or self.text(row, "service_type")
        names = map(named_total, said.values())
        if not described and any(name in self.groups.names for name in names if name):
            return True
        # A vendor may be called Total, and so may a service whose description says what it is.
        named = self._columns("vendor", "service_type", "description")
        return bool(_TOTAL.fullmatch(described)) or any(
            _BARE.fullmatch(text) for at, text in said.items() if at not in named
        )

    def _is_named(self, row: Sequence[Cell], said: Mapping[int, str]) -> bool:
        """Whether it is the total of a name, which itself may begin like a total."""
        texts = self._columns("vendor", "service_type", "description")
        named = ((at, named_total(text)) for at, text in said.items())
        return any(map(is_number, row)) and any(
            name and (at not in texts or name in self.groups.names) for at, name in named
        )

    def _columns(self, *names: str) -> set[int]:
        columns = self.layout.columns
        return {columns[name] for name in names if name in columns}

    def stands_alone(self, row: Sequence[Cell], name: str) -> bool:
        """Whether that field is all that the row says, but for numbers in columns not read."""
        if self.is_dated(row) or is_blank(self.cell(row, name)):
            return False
        used = set(self.layout.columns.values()) - self._columns(name)
        return all(
            is_blank(cell) or (at not in used and is_number(cell))
            for at, cell in enumerate(row)
            if at != self.layout.columns[name]
        )

    def skip_bare_total(
        self, number: int, row: Sequence[Cell], name: str, parts: Decimal, *, european: bool
    ) -> None:
        """Leave out a number that stands alone if it is the sum `parts`, rounded as it is."""
        total = self.read(number, name, self.cell(row, name), partial(number_of, european=european))
        if total is None:
            return
        last_place = Decimal(1).scaleb(min(0, int(total.as_tuple().exponent)))
        if abs(total - parts) * 2 <= last_place:
            self.skip_total(number)
        else:
            self.problem(number, name, "stands alone: nothing says what it is for or when")

    def is_remark(self, row: Sequence[Cell]) -> bool:
        """Whether the row is a title or a footer: words alone, or `Account:` and which one."""
        texts = [text_of(cell) for cell in row if not is_blank(cell)]
        is_title = len(texts) == 2 and texts[0].endswith(":")  # noqa: PLR2004  # and what it says
        return (
            (len(texts) == 1 or is_title)
            and bool(_WORDS.match(texts[0]))
            and not _is_date(texts[0])
        )

    def place(self, number: int) -> Place:
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
            checks=tuple(self.checks),
        )


def _is_same(row: Sequence[Cell], header: Sequence[str]) -> bool:
    if len(row) != len(header) or text_of(row[0]) != header[0]:
        return False
    return all(text_of(cell) == title for cell, title in zip(row, header, strict=True))


def _words_in(row: Sequence[Cell]) -> int:
    return sum(isinstance(cell, str) and not is_blank(cell) and not is_number(cell) for cell in row)


def _is_date(text: str) -> bool:
    try:
        date_of(text)
    except ValueError:
        return False
    return True
