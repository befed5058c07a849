"""What goes into an analysis and what the files are read into: plain, frozen, picklable values.

Money and weights are Decimal from the cell to the report; nothing passes through a float.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from wastewise_jobs.analysis.errors import InvalidPropertyError, Problem
from wastewise_jobs.analysis.text import clean

# The JSON edge: objects whose values are whatever JSON can hold.
JsonObject = dict[str, Any]

INVOICE = "invoice"
HAUL_LOG = "haul_log"

EQUIPMENT_TYPES = ("COMPACTOR", "DUMPSTER", "MIXED")
PROPERTY_TYPES = ("Garden-Style", "Mid-Rise", "High-Rise")


class Category(StrEnum):
    """What a charge is for, in the order in which the first that fits is taken."""

    CONTAMINATION = "contamination"
    BULK = "bulk"
    OVERAGE = "overage"
    FEES = "fees"
    RENTAL = "rental"
    DISPOSAL = "disposal"
    HAULING = "hauling"
    OTHER = "other"

    @property
    def label(self) -> str:
        """The name that people read."""
        return "Fees and surcharges" if self is Category.FEES else self.value.capitalize()


@dataclass(frozen=True, slots=True)
class PropertyFacts:
    """The property: what its owner told us. Raises `InvalidPropertyError` when made of nonsense.

    `containers`, `container_yards` (cubic yards each) and `pickups_per_week` describe dumpsters.
    """

    name: str
    units: int
    city: str = ""
    state: str = ""
    property_type: str | None = None
    equipment_type: str | None = None
    containers: int | None = None
    container_yards: Decimal | None = None
    pickups_per_week: Decimal | None = None

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        for name in ("name", "city", "state"):
            object.__setattr__(self, name, clean(str(getattr(self, name) or "")))
        for name in ("container_yards", "pickups_per_week"):
            object.__setattr__(self, name, _positive(name, getattr(self, name), problems))
        _check_whole("units", self.units, problems)
        if self.containers is not None:
            _check_whole("containers", self.containers, problems)
        for name, known in (("property_type", PROPERTY_TYPES), ("equipment_type", EQUIPMENT_TYPES)):
            object.__setattr__(self, name, _one_of(name, getattr(self, name), known, problems))
        if problems:
            raise InvalidPropertyError(problems)

    def to_json(self) -> JsonObject:
        """The facts as a JSON object; decimals as exact strings."""
        return {
            "name": self.name,
            "units": self.units,
            "city": self.city,
            "state": self.state,
            "propertyType": self.property_type,
            "equipmentType": self.equipment_type,
            "containers": self.containers,
            "containerYards": _text(self.container_yards),
            "pickupsPerWeek": _text(self.pickups_per_week),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "PropertyFacts":
        return cls(
            name=stored["name"],
            units=stored["units"],
            city=stored.get("city") or "",
            state=stored.get("state") or "",
            property_type=stored.get("propertyType"),
            equipment_type=stored.get("equipmentType"),
            containers=stored.get("containers"),
            container_yards=stored.get("containerYards"),
            pickups_per_week=stored.get("pickupsPerWeek"),
        )


def _positive(field: str, value: object, problems: list[Problem]) -> Decimal | None:
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not 0 < number <= 1000:  # noqa: PLR2004  # no such container
        problems.append(Problem(f"{value!s:.40} is not between 0 and 1000", column=field))
        return None
    return number


def _check_whole(field: str, value: object, problems: list[Problem]) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 100_000:  # noqa: PLR2004  # no such building
        problems.append(Problem(f"{value!s:.40} is not a number from 1 to 100000", column=field))


def _one_of(
    field: str, value: str | None, known: Sequence[str], problems: list[Problem]
) -> str | None:
    if not value:
        return None
    for word in known:
        if word.casefold() == str(value).strip().casefold():
            return word
    problems.append(Problem(f"{value!s:.40} is not one of {', '.join(known)}", column=field))
    return None


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An uploaded file. `file_type` (invoice, haul_log or None) overrides what its header says."""

    name: str
    content: bytes
    file_type: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The row that a value was read from; `row` counts from 1, as a spreadsheet shows it."""

    file: str
    sheet: str | None
    row: int


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One charge line. `amount` is in dollars and negative for a credit."""

    place: Place
    invoice_number: str
    invoice_date: date | None
    period_start: date | None
    period_end: date | None
    vendor: str
    service_type: str
    description: str
    amount: Decimal
    category: Category

    @property
    def covers(self) -> tuple[date, date]:
        """First and last day that the line pays for: its service period or its invoice month."""
        if self.period_start is not None and self.period_end is not None:
            return self.period_start, self.period_end
        if self.invoice_date is None:
            raise ValueError("a line has a period or an invoice date")
        first = self.invoice_date.replace(day=1)
        return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)

    def to_row(self) -> JsonObject:
        """The line as a JSON object, amounts as exact strings."""
        return {
            "type": INVOICE,
            "file": self.place.file,
            "sheet": self.place.sheet,
            "row": self.place.row,
            "invoiceNumber": self.invoice_number,
            "invoiceDate": _iso(self.invoice_date),
            "periodStart": _iso(self.period_start),
            "periodEnd": _iso(self.period_end),
            "vendor": self.vendor,
            "serviceType": self.service_type,
            "description": self.description,
            "amount": format(self.amount, "f"),
            "category": self.category.value,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "InvoiceLine":
        return cls(
            place=Place(row["file"], row["sheet"], row["row"]),
            invoice_number=row["invoiceNumber"],
            invoice_date=_date(row["invoiceDate"]),
            period_start=_date(row["periodStart"]),
            period_end=_date(row["periodEnd"]),
            vendor=row["vendor"],
            service_type=row["serviceType"],
            description=row["description"],
            amount=Decimal(row["amount"]),
            category=Category(row["category"]),
        )


@dataclass(frozen=True, slots=True)
class Haul:
    """One emptying of a container; `tons` are short tons of 2000 lb."""

    place: Place
    day: date
    time: str
    container_type: str
    tons: Decimal
    location: str
    notes: str

    def to_row(self) -> JsonObject:
        """The haul as a JSON object, tons as an exact string."""
        return {
            "type": HAUL_LOG,
            "file": self.place.file,
            "sheet": self.place.sheet,
            "row": self.place.row,
            "date": self.day.isoformat(),
            "time": self.time,
            "containerType": self.container_type,
            "tons": format(self.tons, "f"),
            "location": self.location,
            "notes": self.notes,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Haul":
        return cls(
            place=Place(row["file"], row["sheet"], row["row"]),
            day=date.fromisoformat(row["date"]),
            time=row["time"],
            container_type=row["containerType"],
            tons=Decimal(row["tons"]),
            location=row["location"],
            notes=row["notes"],
        )


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one sheet that a figure or a warning is about, as ranges: `2-49, 51`."""

    file: str
    sheet: str | None
    rows: str

    def __str__(self) -> str:
        """`hauls.xlsx, sheet "2024", rows 2-81`."""
        sheet = f', sheet "{self.sheet}"' if self.sheet is not None else ""
        if not self.rows:
            return f"{self.file}{sheet}"
        word = "row" if self.rows.isdecimal() else "rows"
        return f"{self.file}{sheet}, {word} {self.rows}"

    def to_json(self) -> JsonObject:
        """The rows as a JSON object."""
        return {"file": self.file, "sheet": self.sheet, "rows": self.rows}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Rows":
        return cls(stored["file"], stored["sheet"], stored["rows"])


# Some 3,000 scattered rows; each stored row says for itself where it is from.
LONGEST_RANGES = 20_000


def rows_of(places: Iterable[Place]) -> tuple[Rows, ...]:
    """The places grouped by sheet in the order of their first appearance, rows as ranges."""
    sheets: dict[tuple[str, str | None], list[int]] = {}
    for place in places:
        sheets.setdefault((place.file, place.sheet), []).append(place.row)
    return tuple(Rows(file, sheet, ranges(rows)) for (file, sheet), rows in sheets.items())


def ranges(rows: Iterable[int]) -> str:
    """Row numbers as text: `2-49, 51`."""
    spans: list[list[int]] = []
    for row in sorted(set(rows)):
        if spans and row == spans[-1][1] + 1:
            spans[-1][1] = row
        else:
            spans.append([row, row])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
    return text if len(text) <= LONGEST_RANGES else f"{text[:LONGEST_RANGES].rpartition(',')[0]}, …"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something odd but usable: what it is and where it was seen."""

    code: str
    message: str
    rows: tuple[Rows, ...] = ()
    column: str | None = None

    def __str__(self) -> str:
        where = "; ".join(str(rows) for rows in self.rows)
        column = f', column "{self.column}"' if self.column is not None else ""
        return f"{where}{column}: {self.message}" if where else self.message

    def to_json(self) -> JsonObject:
        """The warning as a JSON object; `text` is the sentence for people."""
        return {
            "code": self.code,
            "message": self.message,
            "column": self.column,
            "rows": [rows.to_json() for rows in self.rows],
            "text": str(self),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Notice":
        rows = tuple(Rows.from_json(rows) for rows in stored["rows"])
        return cls(stored["code"], stored["message"], rows, stored["column"])


@dataclass(frozen=True, slots=True)
class FileSummary:
    """What was read from one sheet of one file, and what was left out and why.

    `checks` are the file's own totals that agree with what was read.
    """

    file: str
    sheet: str | None
    file_type: str
    rows_read: int
    header_row: int
    columns: tuple[tuple[str, str], ...]
    ignored_columns: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    checks: tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        """The summary as a JSON object."""
        return {
            "file": self.file,
            "sheet": self.sheet,
            "fileType": self.file_type,
            "rowsRead": self.rows_read,
            "headerRow": self.header_row,
            "columns": [{"field": field, "header": header} for field, header in self.columns],
            "ignoredColumns": list(self.ignored_columns),
            "skipped": [{"reason": reason, "rows": rows} for reason, rows in self.skipped],
            "checks": list(self.checks),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "FileSummary":
        return cls(
            file=stored["file"],
            sheet=stored["sheet"],
            file_type=stored["fileType"],
            rows_read=stored["rowsRead"],
            header_row=stored["headerRow"],
            columns=tuple((column["field"], column["header"]) for column in stored["columns"]),
            ignored_columns=tuple(stored["ignoredColumns"]),
            skipped=tuple((entry["reason"], entry["rows"]) for entry in stored["skipped"]),
            # Results of earlier releases have none.
            checks=tuple(stored.get("checks", ())),
        )
