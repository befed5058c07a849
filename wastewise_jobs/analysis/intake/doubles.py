"""Finds charges that may be counted twice: totals without a word for it, rows pasted again.

What is found was counted; that it may be too much is told, and nothing is judged by it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import permutations

from wastewise_jobs.analysis.intake.headers import plain
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.model import InvoiceLine

_TOTALS = re.compile(
    r"(?:.* )?(?:total|current|new|invoice|this month s|this period s) (?:charges?|invoice"
    r"|amount|bill|activity|billing)(?: .*)?|(?:please )?(?:pay|remit) (?:this|total) amount.*"
    r"|(?:invoice|bill|statement|account)(?: (?:number|no|total|summary|amount))?(?: \w+)?"
    r"|current|amount due|charges this .*|summary|sub ?total.*|total.*|"
)
_FEWEST = 3
_TOLERANCE = Decimal("0.05")
_MOST_SHEETS = 60

Months = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A line that is as much as the others of its invoice together, and where it stands."""

    line: InvoiceLine
    is_worded: bool
    place: str


def note_totals_of_invoices(reader: RowReader, lines: Sequence[InvoiceLine]) -> None:
    """Warn of lines that are the sum of the others of their invoice, by words or time and again."""
    invoices = list(_invoices(lines))
    found = [suspect for invoice in invoices if (suspect := _suspect(invoice))]
    worded = [suspect for suspect in found if suspect.is_worded]
    eligible = sum(len(invoice) >= _FEWEST for invoice in invoices)
    for place in ("first", "last"):
        same = [suspect for suspect in found if suspect.place == place]
        # A contract of one price for years has such a line by chance.
        varied = len({suspect.line.amount for suspect in same}) > 1
        if varied and len(same) >= _FEWEST and len(same) * 2 >= eligible:
            worded += same
    message = (
        "A line is the sum of the others of its invoice and was counted too: if it is their total, "
        "the spend is too high. Delete what is a total."
    )
    for number in sorted({suspect.line.place.row for suspect in worded}):
        reader.warn("total_as_line", message, number, "amount")


def _invoices(lines: Iterable[InvoiceLine]) -> Iterator[list[InvoiceLine]]:
    found: dict[tuple[object, ...], list[InvoiceLine]] = defaultdict(list)
    for line in lines:
        found[(line.invoice_number,) if line.invoice_number else (line.vendor, line.covers)].append(
            line
        )
    return (invoice for invoice in found.values() if len(invoice) > 1)


def _suspect(invoice: Sequence[InvoiceLine]) -> _Suspect | None:
    whole = sum((line.amount for line in invoice), Decimal(0))
    alike = [line for line in invoice if line.amount > 0 and line.amount * 2 == whole]
    worded = [line for line in alike if _TOTALS.fullmatch(_words(line))]
    # A line without words is one among others that have some.
    nameless = sum(not _words(line) for line in invoice)
    if len(worded) == 1 and (_words(worded[0]) or nameless == 1):
        return _Suspect(worded[0], is_worded=True, place="")
    if len(alike) != 1 or len(invoice) < _FEWEST:
        return None
    places = {invoice[0].place: "first", invoice[-1].place: "last"}
    return _Suspect(alike[0], is_worded=False, place=places.get(alike[0].place, "between"))


def _words(line: InvoiceLine) -> str:
    return plain(line.description or line.service_type)


def note_rows_again(reader: RowReader, lines: Sequence[InvoiceLine]) -> None:
    """Warn of rows of an invoice that come again, the same in every cell, below other invoices.

    Two equal rows beside each other are common: two hauls at one price.
    """
    first: dict[tuple[object, ...], int] = {}
    run, above = 0, ""
    again: list[int] = []
    for line in lines:
        run, above = run + (line.invoice_number != above), line.invoice_number
        row = above, *reader.table.rows[line.place.row - 1]
        if above and first.setdefault(row, run) != run:
            again.append(line.place.row)
    if len(again) > 1:
        message = "Rows come again below other invoices, the same in every cell: they were counted."
        for number in again:
            reader.warn("rows_again", message, number)


def note_summary_sheets(lines: Iterable[InvoiceLine], notebook: Notebook) -> None:
    """Warn of a sheet whose months add up to those of another: it may sum that up."""
    sums: dict[tuple[str, str | None], dict[str, Decimal]] = {}
    counts: dict[tuple[str, str | None], int] = defaultdict(int)
    for line in lines:
        sheet, month = (line.place.file, line.place.sheet), line.covers[0].isoformat()[:7]
        months = sums.setdefault(sheet, {})
        months[month] = months.get(month, Decimal(0)) + line.amount
        counts[sheet] += 1
    order = {sheet: (counts[sheet], -at) for at, sheet in enumerate(sums)}
    for one, other in permutations(list(sums)[:_MOST_SHEETS], 2):
        if order[one] < order[other] and _sums_up(sums[one], sums[other]):
            message = (
                f"Its months add up to those of {other[1] or other[0]}, as a summary of it would: "
                "both were counted."
            )
            notebook.warn("sheet_sums_another", message, table=Table(*one, ()))


def _sums_up(months: Months, others: Months) -> bool:
    same = all(abs(total - others.get(month, 0)) <= _TOLERANCE for month, total in months.items())
    return same and len(set(months.values())) > 1
