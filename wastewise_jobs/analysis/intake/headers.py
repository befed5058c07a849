"""Finds the header row of a sheet and what its columns mean, and so what file type it is.

A header names its columns in any order and case, among columns that mean nothing to us, below a
title or an address. The row of the first thirty that names most of a file type's columns wins, or
two rows together: "Service Period" above "From" and "To".
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice

from wastewise_jobs.analysis.intake.cells import Cell
from wastewise_jobs.analysis.model import HAUL_LOG, INVOICE
from wastewise_jobs.analysis.text import clean

SEARCHED_ROWS = 30

# A period only where no date is given: the month in which something was booked.
_MONTHS = ("month", "post month", "billing month", "invoice month", "fiscal period",
           "accounting period")  # fmt: skip

# field -> the names it goes by, the most telling first: of two columns that could be the amount,
# the one whose name comes first is.
INVOICE_NAMES: Mapping[str, tuple[str, ...]] = {
    "invoice_number": (
        "invoice number", "invoice no", "invoice num", "invoice nbr", "invoice id", "inv number",
        "inv no", "inv num", "invoice", "inv", "bill number", "bill no", "statement number",
        "document number", "document no", "doc no", "reference number", "reference", "ref no",
        "ref number", "ref num", "ref", "num", "control",
    ),
    "invoice_date": (
        "invoice date", "inv date", "date of invoice", "bill date", "billing date", "billed date",
        "billed", "billed on", "statement date", "document date", "doc date", "issue date", "date",
        "service date",
        "date of service", "posting date", "posted date", "transaction date", "inv dt",
        "svc date", "trans date", "txn date", "post date", "gl date", "accounting date",
        "entry date",
    ),
    "period_start": (
        "service period start", "service period from", "service period begin", "service start date",
        "service start", "service from", "period start date", "period start", "period from",
        "period begin", "billing period start", "billing period from", "billing start",
        "start date", "from date", "begin date", "svc start", "start", "from",
    ),
    "period_end": (
        "service period end", "service period to", "service period through", "service end date",
        "service end", "service to", "service through", "period end date", "period end",
        "period to",
        "period through", "billing period end", "billing period to", "billing end", "end date",
        "to date", "thru date", "through date", "svc end", "end", "to", "thru", "through",
    ),
    "period": (
        "service period", "billing period", "service dates", "period", "service month", *_MONTHS,
    ),
    "vendor": (
        "vendor name", "vendor", "hauler name", "hauler", "supplier name", "supplier",
        "service provider", "provider", "company name", "company", "payee", "payee name",
        "payee payer", "vendor payee", "person description", "person", "name",
    ),
    "service_type": (
        "service type", "type of service", "charge type", "service category", "charge category",
        "line type", "category", "service code", "charge code", "service", "type", "gl category",
    ),
    "description": (
        "description", "line description", "charge description", "service description",
        "item description", "line item description", "line item", "details", "detail", "item",
        "particulars", "memo", "memo description", "remarks", "notes", "gl account",
        "expense account", "text", "item text", "line text", "desc", "line desc", "item desc",
        "service desc", "svc desc", "charge desc", "activity", "activity description",
    ),
    "amount": (
        "line amount", "extended amount", "ext amount", "extended price", "ext price",
        "line total", "line charge", "line cost", "extended", "extension", "amount",
        "charge amount", "amount usd", "amount us", "net amount", "charge", "charges",
        "total charge",
        "total charges", "total amount", "total", "total usd", "total cost", "cost", "amt",
        "invoice amount", "invoice total", "bill amount", "billed amount", "amount billed",
        "line amt", "ext amt", "net amt", "invoice amt", "inv amount", "inv amt", "bill amt",
        "amount in local currency", "amount in lc", "amount in doc curr",
        "amount in document currency",
    ),
    # What follows is of ledgers and lists of transactions: see `ledgers`.
    "debit": ("debit", "debits", "debit amount", "debit amt", "debit usd", "dr", "amount dr",
              "increase"),
    "credit": ("credit", "credits", "credit amount", "credit amt", "credit usd", "cr", "amount cr",
               "decrease", "credits payments"),
    "paid": (
        "payments", "payment", "payment amount", "amount paid", "paid amount", "paid",
        "payments received", "payments credits",
    ),
    "unpaid": ("unpaid", "unpaid amount", "amount unpaid", "open amount"),
    "transaction": (
        "transaction type", "trans type", "txn type", "tran type", "document type", "doc type",
        "entry type",
    ),
    "status": (
        "status", "invoice status", "bill status", "payment status", "approval status",
        "posting status", "document status", "transaction status", "doc status", "inv status",
        "scenario", "actual budget", "actual or budget", "budget actual",
    ),
}  # fmt: skip
# Pairs of columns that say an amount together where no column says it alone.
AMOUNT_PAIRS = (("debit", "credit"), ("paid", "unpaid"))

HAUL_NAMES: Mapping[str, tuple[str, ...]] = {
    "date": (
        "haul date", "date hauled", "pickup date", "pick up date", "service date",
        "date of service", "pull date", "ticket date", "date", "transaction date", "day",
        "svc date", "date time", "date in", "scale date",
    ),
    "time": ("haul time", "pickup time", "pick up time", "service time", "time", "ticket time"),
    "container_type": (
        "container type", "container", "equipment type", "equipment", "box type", "box",
        "container size", "unit type",
    ),
    "tons": (
        "net tons", "tons net", "tons", "tonnage", "net tonnage", "net weight tons", "weight tons",
        "weight in tons", "weight tn", "weight ton", "tons hauled", "total tons", "short tons",
        "ton",
    ),
    "pounds": (
        "net lbs", "net weight lbs", "net weight lb", "net pounds", "net weight pounds",
        "weight lbs",
        "weight lb", "weight in lbs", "weight pounds", "weight in pounds", "pounds", "lbs", "lb",
    ),
    "weight": ("net weight", "weight", "net wt", "wt", "net"),
    "location": (
        "location", "disposal site", "disposal facility", "facility", "landfill", "destination",
        "site", "site name", "property", "address",
    ),
    "notes": ("notes", "note", "comments", "comment", "remarks", "remark", "memo"),
    "status": ("status", "haul status", "service status", "pickup status", "ticket status"),
}  # fmt: skip

NAMES = {INVOICE: INVOICE_NAMES, HAUL_LOG: HAUL_NAMES}
WANTED = {
    INVOICE: "an amount, an invoice date or service period, and what the charge is for",
    HAUL_LOG: "a date and a weight in tons or pounds",
}

# Fields whose cells are dates and numbers.
_NO_WORDS = ("invoice_date", "period_start", "period_end", "amount", "date", "tons", "pounds",
             "weight")  # fmt: skip
_WORDS = {
    file_type: {
        name: (field, rank) for field, names in fields.items() for rank, name in enumerate(names)
    }
    for file_type, fields in NAMES.items()
}
_LEDGER_WORDS = {
    "debit", "debits", "dr", "credit", "credits", "cr", "balance", "ledger", "journal", "posting",
    "payment", "payments", "withdrawal", "withdrawals", "deposit", "deposits", "account",
}  # fmt: skip
# invoiceDate, as programs name what people call Invoice Date.
_HUMPS = re.compile(r"(?<=[a-z]{2})(?=[A-Z][a-z])")
_OTHER_CHARACTERS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a sheet holds: its file type, where its header is (from 0), which column is which.

    `header_row` is the last row of the header, `header_rows` says how many there are.
    """

    file_type: str
    header_row: int
    columns: Mapping[str, int]
    headers: tuple[str, ...]
    header_rows: int = 1

    def header(self, field: str) -> str:
        """The column's own name, for messages."""
        return self.headers[self.columns[field]]

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of the columns that are not read."""
        used = set(self.columns.values())
        return tuple(name for at, name in enumerate(self.headers) if name and at not in used)


def find_layout(
    rows: Sequence[Sequence[Cell]],
    file_type: str | None = None,
    hidden: AbstractSet[int] = frozenset(),
) -> Layout | None:
    """The best header among the first rows, or None. `file_type` restricts what it may be.

    Of two columns that could be the same, one that is not `hidden` is taken.
    """
    best: Layout | None = None
    first = list(islice(rows, SEARCHED_ROWS))
    for at, row in enumerate(first):
        for candidate in (file_type,) if file_type else (INVOICE, HAUL_LOG):
            for layout in _layouts(candidate, at, row, first[at + 1 : at + 2], hidden):
                if best is None or _worth(layout) > _worth(best):
                    best = layout
    return best


def _worth(layout: Layout) -> tuple[int, int]:
    # A title above a header adds nothing to it.
    return len(layout.columns), -layout.header_rows


def _layouts(
    file_type: str,
    at: int,
    row: Sequence[Cell],
    below: Sequence[Sequence[Cell]],
    hidden: AbstractSet[int],
) -> Iterator[Layout]:
    """What the row is as a header, and what it is together with the row below it."""
    joined = [_joined(row, cells, file_type) for cells in below if _is_second(row, cells)]
    for count, header in enumerate((row, *joined), 1):
        columns = _columns(header, file_type, hidden)
        if _is_enough(file_type, columns):
            names = tuple(clean(str(cell or "")) for cell in header)
            if count == 1 and joined and _are_units(below[0], columns, file_type):
                yield Layout(file_type, at + 1, columns, names, 2)
            else:
                yield Layout(file_type, at + count - 1, columns, names, count)


def _are_units(below: Sequence[Cell], columns: Mapping[str, int], file_type: str) -> bool:
    """Whether words stand where dates and numbers should, and name no columns: (MM/DD), (tons)."""
    filled = [at for at, cell in enumerate(below) if cell not in {None, ""}]
    if filled == [min(columns.values())] and not re.search(r"[(/]", str(below[filled[0]])):
        # The name of a group.
        return False
    places = [columns[name] for name in _NO_WORDS if name in columns]
    words = any(at < len(below) and below[at] not in {None, ""} for at in places)
    return words and not _columns(below, file_type)


def _is_second(row: Sequence[Cell], below: Sequence[Cell]) -> bool:
    """Whether the row below may be the second of a header: words alone, some under a blank."""
    words = [cell for cell in below if cell is not None and cell != ""]
    above = sum(isinstance(cell, str) and cell != "" for cell in row)
    return (
        bool(words)
        and above > 1
        and all(isinstance(cell, str) and not any(map(str.isdecimal, cell)) for cell in words)
    )


def _joined(row: Sequence[Cell], below: Sequence[Cell], file_type: str) -> list[Cell]:
    """The names of two rows as one; a name above reaches over the blank cells beside it."""
    header: list[Cell] = []
    reaching = ""
    for at in range(max(len(row), len(below))):
        above = clean(str(row[at] or "")) if at < len(row) else ""
        under = clean(str(below[at] or "")) if at < len(below) else ""
        reaching = above or (reaching if under else "")
        names = (f"{reaching} {under}".strip(), under, above)
        known = (name for name in names if plain(name) in _WORDS[file_type])
        header.append(next(known, names[0]))
    return header


def score(row: Sequence[Cell]) -> int:
    """How many cells of the row name a column of either file type."""
    return max(len(_columns(row, INVOICE)), len(_columns(row, HAUL_LOG)))


def _columns(
    row: Sequence[Cell], file_type: str, hidden: AbstractSet[int] = frozenset()
) -> dict[str, int]:
    words = _WORDS[file_type]
    found: dict[str, tuple[bool, int, int]] = {}
    for at, cell in enumerate(row):
        if not isinstance(cell, str) or not cell or len(cell) > 80:  # noqa: PLR2004  # no column name
            continue
        name = plain(cell)
        if name in words:
            field, rank = words[name]
            place = (at in hidden, rank, at)
            found[field] = min(found.get(field, place), place)
    columns = {field: at for field, (_, _, at) in found.items()}
    is_dated = bool(columns.keys() & {"invoice_date", "period_start"})
    if is_dated and "period" in columns and plain(str(row[columns["period"]])) in _MONTHS:
        del columns["period"]
    return columns


def plain(name: str) -> str:
    """A column's name, or another label, in lower-case words alone."""
    name = _HUMPS.sub(" ", name) if not name.islower() else name
    return _OTHER_CHARACTERS.sub(" ", name.casefold().replace("#", " number ")).strip()


def looks_like_ledger(row: Sequence[Cell]) -> bool:
    """Whether the names of columns are those of a ledger or an account's statement."""
    words = {word for cell in row if isinstance(cell, str) for word in plain(cell).split()}
    return len(words & _LEDGER_WORDS) > 1


def _is_enough(file_type: str, columns: Mapping[str, int]) -> bool:
    if file_type == HAUL_LOG:
        return "date" in columns and bool(columns.keys() & {"tons", "pounds", "weight"})
    dated = (
        bool(columns.keys() & {"invoice_date", "period"})
        or {
            "period_start",
            "period_end",
        }
        <= columns.keys()
    )
    told = columns.keys() & {"invoice_number", "vendor", "service_type", "description"}
    valued = "amount" in columns or any(columns.keys() >= set(pair) for pair in AMOUNT_PAIRS)
    return valued and dated and bool(told)
