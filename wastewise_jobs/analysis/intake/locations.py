"""Whose rows a sheet holds: the columns that name a property, and the choice among their texts."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import pairwise

from wastewise_jobs.analysis.choices import LONGEST_LOCATION
from wastewise_jobs.analysis.errors import Problem, UnknownLocationError
from wastewise_jobs.analysis.intake.cells import Cell, is_blank, text_of
from wastewise_jobs.analysis.intake.headers import plain
from wastewise_jobs.analysis.intake.rowreader import Row, RowReader
from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.model import HAUL_LOG, InvoiceLine, Place
from wastewise_jobs.analysis.text import clean

LISTED = 20

# What a column names, the most telling first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "properties": (
        "property", "property name", "property id", "property code", "property number", "prop",
        "prop name", "prop code", "asset", "asset name", "community",
        "community name", "community id", "complex", "complex name", "apartment community",
        "property location", "property desc", "property description",
    ),
    "locations": (
        "service location", "service location name", "service site", "service site name",
        "location", "location name", "location id", "location number", "location code", "site",
        "site name", "site id", "site number", "store", "store number", "job site",
        "service loc", "svc location", "svc loc", "site location", "location desc",
        "location description", "ship to", "ship to name", "job name",
    ),
    "addresses": (
        "service address", "site address", "location address", "property address", "address",
        "street address", "service street", "serviced address", "service addr", "svc address",
        "site addr", "delivery address", "ship to address",
    ),
    "customers": (
        "customer", "customer name", "cust name", "cust number", "cust id",
        "customer id", "customer no", "customer number", "client",
        "client name", "bill to", "bill to name", "billed to", "account name", "entity",
        "entity name", "class",
    ),
    "divisions": (
        "cost center", "cost centre", "department", "dept", "division", "branch", "subsidiary",
        "project", "project name", "job", "building name", "facility", "facility name", "fund",
    ),
    "accounts": (
        "account", "account number", "account no", "account id", "acct",
        "acct number", "acct no", "customer account", "customer account number",
        "billing account", "service account", "account code",
    ),
}  # fmt: skip
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names}
_ORDER = [*_NAMES, "groups"]
# May as well be of a ledger.
_VAGUE = {"account name", "class", "entity", "entity name", *_NAMES["divisions"]}
# In a haul log such a column may as well say where the truck went.
_LOOSE = {"location", "location name", "site", "site name", "address"}
_DISPOSAL = re.compile(
    r"landfill|transfer|station|disposal|recycl|\bmrf\b|facility|\bplant\b|incinerat|\bdump\b"
    r"|\bdock\b|\bgate\b|\bbay\b|\balley\b|\blot\b|\bpad\b|garage|compactor|\bdumpster",
    re.IGNORECASE,
)
# The account of a customer is a number, that of a ledger a word: Trash removal.
_TITLE = re.compile(r"(?P<name>[^:]{3,30}?)\s*:\s*(?P<text>\S.{0,198})")
_NUMBERED = re.compile(r"(?=.*\d)[A-Z]{0,4}[\d\s./#-]+[A-Z]{0,3}", re.IGNORECASE)


@dataclass(slots=True)
class Places:
    """What one column of a sheet names: each text, and the rows that bear it."""

    kind: str
    header: str | None
    is_loose: bool
    names: dict[str, str] = field(default_factory=dict)
    rows: dict[int, str] = field(default_factory=dict)


def _places_of(reader: RowReader, rows: Sequence[Row]) -> list[Places]:
    """The columns and titles that name whose rows these are, the most telling first."""
    found = [
        places
        for at, header in enumerate(reader.layout.headers)
        if (places := _places(reader, header, at, rows))
    ]
    kinds = {places.kind for places in found}
    found += [places for places in _titles_of(reader, rows) if places.kind not in kinds]
    found += _groups_of(reader, rows)
    return sorted(found, key=lambda places: _ORDER.index(places.kind))


def _places(reader: RowReader, header: str, at: int, rows: Sequence[Row]) -> Places | None:
    name = plain(header)
    kind = _KINDS.get(name)
    used = {column for field, column in reader.layout.columns.items() if field != "location"}
    is_haul_log = reader.layout.file_type == HAUL_LOG
    if kind is None or at in used or (is_haul_log and kind == "divisions"):
        return None
    is_loose = name in _VAGUE or (is_haul_log and name in _LOOSE)
    places = Places(kind, header, is_loose)
    above = text = ""
    for number, row in rows:
        cell = row[at] if at < len(row) else None
        if not is_blank(cell):
            text = text_of(cell)[:LONGEST_LOCATION]
            above = _key(text)
        if above:
            places.rows[number] = above
            # Of a name that stands alone above its rows too; of none that is a total's.
            if reader.is_dated(row):
                places.names.setdefault(above, text)
    return places if _names_owners(places) else None


def _titles_of(reader: RowReader, rows: Sequence[Row]) -> Iterator[Places]:
    """What stands above the header or above a block of rows: `Property: Oak Terrace`."""
    layout = reader.layout
    found: dict[str, Places] = {}
    above: dict[str, str] = {}
    titles = enumerate(reader.table.rows[: layout.header_row + 1 - layout.header_rows], 1)
    for number, row in (*titles, *rows):
        for name, text in _titles_in(reader, row):
            kind = _KINDS[plain(name)]
            is_loose = kind in {"customers", "accounts", "divisions"}
            places = found.setdefault(kind, Places(kind, name, is_loose))
            above[kind] = _key(text)
            places.names.setdefault(above[kind], text)
        for kind, key in above.items():
            found[kind].rows[number] = key
    yield from found.values()


def _groups_of(reader: RowReader, rows: Sequence[Row]) -> list[Places]:
    """The groups of a report if one vendor charges in several: of a class or a property."""
    places = Places("groups", None, is_loose=True)
    charged: dict[str, set[str]] = {}
    for number, row in rows:
        name = reader.groups.group.get(number)
        if name is not None and reader.is_dated(row):
            places.rows[number] = _key(name)
            places.names.setdefault(_key(name), name)
            charged.setdefault(reader.text(row, "vendor"), set()).add(name)
    return [places] if any(len(names) > 1 for vendor, names in charged.items() if vendor) else []


def _titles_in(reader: RowReader, row: Sequence[Cell]) -> Iterator[tuple[str, str]]:
    """`Property: Oak Terrace` in one cell or two, where nothing is charged."""
    texts = [text_of(cell) for cell in row if isinstance(cell, str) and ":" in cell]
    if not texts or (reader.is_dated(row) and not reader.is_remark(row)):
        return
    cells = [text_of(cell) for cell in row if not is_blank(cell)]
    pairs = (f"{cell} {after}" for cell, after in pairwise(cells) if cell.endswith(":"))
    for match in map(_TITLE.fullmatch, (*texts, *pairs)):
        if match and plain(match["name"]) in _KINDS and not match["text"].endswith(":"):
            yield match["name"], match["text"]


def _names_owners(places: Places) -> bool:
    texts = places.names.values()
    if not texts:
        return False
    if places.kind == "accounts":
        return all(map(_NUMBERED.fullmatch, texts))
    return not (places.is_loose and any(map(_DISPOSAL.search, texts)))


class Locations:
    """What the sheets of all files name, and the choice among it."""

    def __init__(self, chosen: Sequence[str]) -> None:
        self._chosen = {_key(text): text for text in chosen}
        self._named: list[tuple[Table, Places]] = []
        self._sheets: dict[str, str] = {}
        self._rows: dict[tuple[str, str | None], dict[int, str]] = {}
        self._is_told = False

    def begin(self, readers: Sequence[RowReader]) -> None:
        """Know the sheets of a file: a choice may name one as a whole."""
        self._sheets |= {_key(sheet): sheet for reader in readers if (sheet := reader.table.sheet)}

    def look_at(self, reader: RowReader, rows: Sequence[Row]) -> None:
        """Leave out the rows of locations that were not chosen; without a choice, warn of two."""
        found = _places_of(reader, rows)
        sheet = Table(reader.table.file, reader.table.sheet, ())
        self._named += [(sheet, replace(places, rows={})) for places in found]
        if sure := [places for places in found if not places.is_loose]:
            self._rows[sheet.file, sheet.sheet] = sure[0].rows
        if self._chosen:
            self._choose(reader, rows, found)
        elif several := next((places for places in found if len(places.names) > 1), None):
            self._is_told = True
            code = "locations_may_differ" if several.is_loose else "several_locations"
            _warn(reader.notebook, sheet, several, code)

    def of(self, place: Place) -> str:
        """The location that the row names; empty if none."""
        return self._rows.get((place.file, place.sheet), {}).get(place.row, "")

    def _choose(self, reader: RowReader, rows: Sequence[Row], found: list[Places]) -> None:
        if reader.table.sheet and self._chosen.keys() & self._sheets.keys():
            key = _key(reader.table.sheet)
            whole = dict.fromkeys((number for number, _ in rows), key)
            found = [Places("sheets", None, False, {key: key}, whole), *found]
        _choose(reader, rows, found, self._chosen.keys())

    def finish(self, lines: Sequence[InvoiceLine], notebook: Notebook) -> None:
        """Warn of files that name one each. `UnknownLocationError` for a choice not there."""
        there = {key: text for _, places in self._named for key, text in places.names.items()}
        known = there.keys() | self._sheets.keys()
        unknown = [text for key, text in self._chosen.items() if key not in known]
        if unknown:
            raise UnknownLocationError([_unknown(text, list(there.values())) for text in unknown])
        if not self._chosen and not self._is_told:
            self._note_across(notebook)
        if not self._chosen and not self._is_told:
            _note_sheets(lines, notebook)

    def _note_across(self, notebook: Notebook) -> None:
        for kind in ("properties", "locations"):
            of_kind = [(table, places) for table, places in self._named
                       if places.kind == kind and not places.is_loose]  # fmt: skip
            names = {key: text for _, places in of_kind for key, text in places.names.items()}
            if len(names) > 1:
                self._is_told = True
                for table, places in of_kind:
                    together = replace(places, names=names)
                    _warn(notebook, table, together, "locations_may_differ")
                return


def _choose(
    reader: RowReader, rows: Sequence[Row], found: Sequence[Places], keys: AbstractSet[str]
) -> None:
    named = [places for places in found if keys & places.names.keys()]
    if not named and all(places.is_loose for places in found):
        message = "No column names any of the chosen locations: every row was counted."
        reader.warn("location_not_named", message, reader.layout.header_row + 1)
        return
    kept = {number for places in named for number, key in places.rows.items() if key in keys}
    for number, row in rows:
        if number not in kept:
            reader.left_out[number] = "rows of other locations"
            message = "Rows of locations that were not chosen were left out."
            reader.warn("other_locations_skipped", message, number)
        elif reader.is_total(row) or _is_bare(reader, row):
            # It adds up the rows of all locations.
            reader.left_out[number] = "total rows"


def _note_sheets(lines: Sequence[InvoiceLine], notebook: Notebook) -> None:
    """Warn of sheets that one vendor charges for the same months: one may be a property each."""
    charged: dict[str, dict[tuple[str, str], set[str]]] = {}
    for line in lines:
        if line.place.sheet:
            key = (line.vendor.casefold(), line.covers[0].isoformat()[:7])
            charged.setdefault(line.place.file, {}).setdefault(key, set()).add(line.place.sheet)
    for file, sheets_of in charged.items():
        together = max(sheets_of.values(), key=len)
        if len(together) > 1:
            names = {_key(sheet): sheet for sheet in sorted(together)}
            places = Places("sheets for the same months", None, is_loose=True, names=names)
            _warn(notebook, Table(file, None, ()), places, "locations_may_differ")


def _is_bare(reader: RowReader, row: Sequence[Cell]) -> bool:
    names = ("amount", "tons", "pounds", "weight")
    name = next((name for name in names if name in reader.layout.columns), None)
    return name is not None and reader.stands_alone(row, name)


def _warn(notebook: Notebook, table: Table, places: Places, code: str) -> None:
    names = list(places.names.values())
    message = (
        f"The rows are of {len(names)} {places.kind}: {_listed(names)}. All were counted as one "
        "property; name in locations those that belong to it."
    )
    notebook.warn(code, message, table=table, column=places.header)


def _unknown(text: str, there: list[str]) -> Problem:
    if not there:
        return Problem(f'no file has a column that names locations, so "{text}" is in none')
    return Problem(f'no file names the location "{text}"; they name {_listed(there)}')


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(f'"{name}"' for name in names[:LISTED]) + more


def _key(text: str) -> str:
    same = unicodedata.normalize("NFKC", clean(text))
    return " ".join(same.split()).casefold()[:LONGEST_LOCATION]
