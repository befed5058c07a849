"""Tells the amount of a line from the total of its invoice by arithmetic, not by name alone.

Exports repeat the total of an invoice on each of its lines. The column whose lines add up to
another's for each invoice is the amount; what it adds up to is held against it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise, permutations

from wastewise_jobs.analysis.intake.cells import Cell, is_blank, is_european, number_of, text_of
from wastewise_jobs.analysis.intake.headers import INVOICE_NAMES, plain
from wastewise_jobs.analysis.intake.rowreader import RowReader

_AMOUNTS = re.compile(r"\b(?:amount|amt|totals?|charges?|cost|price|ext|extended|net|gross|usd)\b")
_NO_AMOUNTS = re.compile(r"\b(?:unit|rate|each|per|qty|quantity|tax|balance|paid|due|tons?)\b")
_TOTALS = re.compile(r"\b(?:total|due)\b")
_QUANTITIES = ("qty", "quantity", "units", "count", "no of hauls", "hauls")
_TOLERANCE = Decimal("0.05")
_MOST_CANDIDATES = 6
_LISTED = 10
_FEWEST_STEPS = 2

_Numbers = Mapping[int, Decimal]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A column of totals, one of lines, and for which invoices the lines add up to the total."""

    totals: int
    lines: int
    right: Sequence[Sequence[int]]
    wrong: Sequence[Sequence[int]]

    @property
    def proves(self) -> bool:
        """Whether invoices of several lines show it, and few contradict it."""
        return any(len(rows) > 1 for rows in self.right) and len(self.wrong) * 4 <= len(self.right)


def settle_amount(reader: RowReader) -> frozenset[str]:
    """Take the lines' own amounts; the names of columns that were found to be their totals."""
    if "amount" not in reader.layout.columns:
        return frozenset()
    _take_extended(reader)
    chosen = reader.layout.columns["amount"]
    candidates = _candidates(reader)
    if len(candidates) == 1 and not _TOTALS.search(plain(reader.layout.headers[chosen])):
        return frozenset()
    columns = {at: _numbers(reader, at) for at in candidates}
    invoices = list(_invoices(reader))
    proven = _proven(columns, invoices)
    lines = {pair.lines for pair in proven if pair.totals == chosen}
    lines |= {at for at in columns if at != chosen and _runs(columns[chosen], columns[at])}
    if lines:
        chosen = min(lines)
        named = {**reader.layout.columns, "amount": chosen}
        reader.layout = replace(reader.layout, columns=named)
    elif not any(pair.lines == chosen for pair in proven):
        _note_repeated(reader, columns, invoices)
    found = [pair for pair in proven if pair.lines == chosen]
    for pair in found:
        _state(reader, pair, columns)
    running = {at for at in columns if at != chosen and _runs(columns[at], columns[chosen])}
    for at in running:
        names = reader.layout.headers[at], reader.layout.headers[chosen]
        reader.checks.append('"{}" runs on with "{}" in every row.'.format(*names))
    totals_of_it = {pair.totals for pair in found} | running
    return frozenset(reader.layout.headers[at] for at in totals_of_it)


def _proven(columns: Mapping[int, _Numbers], invoices: Sequence[Sequence[int]]) -> list[_Pair]:
    """Totals by invoice; of the columns that have none, those of the whole sheet."""
    pairs = permutations(columns, 2)
    every = [[row for rows in invoices for row in rows]]
    found: list[_Pair] = []
    for totals, lines in pairs:
        by_invoice = _pair(totals, lines, columns, invoices)
        found.append(by_invoice if by_invoice.proves else _pair(totals, lines, columns, every))
    return [pair for pair in found if pair.proves]


def _runs(totals: _Numbers, lines: _Numbers) -> bool:
    """Whether one column is the running sum of the other."""
    rows = sorted(totals.keys() & lines.keys())
    steps = [
        abs(totals[row] - totals[before] - lines[row]) <= _TOLERANCE
        for before, row in pairwise(rows)
    ]
    return len(steps) >= _FEWEST_STEPS and all(steps) and any(lines[row] for row in rows[1:])


def _take_extended(reader: RowReader) -> None:
    """Read the column that is the quantity times the chosen one, which is a unit price then."""
    columns, headers = reader.layout.columns, reader.layout.headers
    chosen = columns["amount"]
    quantity = next((at for at, name in enumerate(headers) if plain(name) in _QUANTITIES), None)
    others = [at for at in _candidates(reader) if at != chosen]
    if quantity is None or not others:
        return
    counts, prices = _numbers(reader, quantity), _numbers(reader, chosen)
    for at in others:
        totals = _numbers(reader, at)
        rows = counts.keys() & prices.keys() & totals.keys()
        fits = all(abs(counts[row] * prices[row] - totals[row]) <= _TOLERANCE for row in rows)
        if fits and any(totals[row] != prices[row] for row in rows):
            reader.layout = replace(reader.layout, columns={**columns, "amount": at})
            reader.checks.append(
                f'"{headers[at]}" is the quantity times "{headers[chosen]}" in every row.'
            )
            return


def _candidates(reader: RowReader) -> list[int]:
    used = set(reader.layout.columns.values()) - {reader.layout.columns["amount"]}
    named = [
        at for at, name in enumerate(reader.layout.headers)
        if at not in used and _is_candidate(plain(name))
    ]  # fmt: skip
    return sorted({reader.layout.columns["amount"], *named[:_MOST_CANDIDATES]})


def _is_candidate(name: str) -> bool:
    known = name in INVOICE_NAMES["amount"]
    return known or (bool(_AMOUNTS.search(name)) and not _NO_AMOUNTS.search(name))


def _numbers(reader: RowReader, at: int) -> dict[int, Decimal]:
    cells = {number: row[at] for number, row in _rows(reader) if at < len(row)}
    european = reader.decimal == "," if reader.decimal else is_european(list(cells.values()))
    found: dict[int, Decimal] = {}
    for number, cell in cells.items():
        if is_blank(cell):
            continue
        try:
            found[number] = number_of(cell, european=european)
        except ValueError:
            continue
    return found


def _rows(reader: RowReader) -> Iterator[tuple[int, Sequence[Cell]]]:
    """The rows below the header that describe something; nothing is noted about the others."""
    for at in range(reader.layout.header_row + 1, len(reader.table.rows)):
        row = reader.table.rows[at]
        is_read = at + 1 not in reader.left_out and not all(map(is_blank, row))
        if is_read and not reader.is_total(row):
            yield at + 1, row


def _invoices(reader: RowReader) -> Iterator[list[int]]:
    """The rows of each invoice: one number, or else one day and vendor; blank means as above."""
    by_key: dict[tuple[str, ...], list[int]] = {}
    numbered = "invoice_number" in reader.layout.columns
    names = ("vendor", "invoice_number") if numbered else ("vendor", "invoice_date")
    above: tuple[str, ...] = ()
    for number, row in _rows(reader):
        key = tuple(reader.text(row, name) for name in names)
        above = key if key[1] else (above or key)
        by_key.setdefault(above, []).append(number)
    yield from by_key.values()


def _pair(
    totals: int, lines: int, columns: Mapping[int, _Numbers], invoices: Sequence[Sequence[int]]
) -> _Pair:
    right: list[Sequence[int]] = []
    wrong: list[Sequence[int]] = []
    for rows in invoices:
        stated = {columns[totals][row] for row in rows if row in columns[totals]}
        parts = [columns[lines][row] for row in rows if row in columns[lines]]
        if not stated or not parts:
            continue
        agrees = len(stated) == 1 and abs(sum(parts) - min(stated)) <= _TOLERANCE
        (right if agrees else wrong).append(rows)
    return _Pair(totals, lines, right, wrong)


def _state(reader: RowReader, pair: _Pair, columns: Mapping[int, _Numbers]) -> None:
    headers = reader.layout.headers
    totals, lines = headers[pair.totals], headers[pair.lines]
    reader.checks.append(
        f'"{totals}" is a total of "{lines}", which adds up to it '
        f"for {len(pair.right)} of {len(pair.right) + len(pair.wrong)}."
    )
    for rows in pair.wrong[:_LISTED]:
        says = [columns[pair.totals][row] for row in rows if row in columns[pair.totals]]
        read = sum(columns[pair.lines].get(row, Decimal(0)) for row in rows)
        message = f'"{totals}" says {says[0]} for this invoice, its lines add up to {read}.'
        for row in rows:
            reader.warn("total_mismatch", message, row, "amount")


def _note_repeated(
    reader: RowReader, columns: Mapping[int, _Numbers], invoices: Sequence[Sequence[int]]
) -> None:
    """One amount on all lines of every invoice may be the invoice's, counted once a line."""
    chosen = reader.layout.columns["amount"]
    several = [rows for rows in invoices if len(rows) > 1]
    name = plain(reader.layout.headers[chosen])
    if not several or not all(len(_said(columns[chosen], rows)) == 1 for rows in several):
        return
    differ = [
        at for at in columns
        if at != chosen and any(len(_said(columns[at], rows)) > 1 for rows in several)
    ]  # fmt: skip
    if differ and len(several) > 1:
        others = ", ".join(f'"{reader.layout.headers[at]}"' for at in differ)
        problem = (
            "says the same on every line of an invoice, as its total would, but "
            f"{others} does not add up to it: keep the one column that is the line's amount"
        )
        reader.problem(reader.layout.header_row + 1, "amount", problem)
    elif _TOTALS.search(name) and _described_apart(reader, several):
        message = (
            "The same total stands on every line of an invoice and was counted for each: "
            "if it is the invoice's, the spend is too high."
        )
        for rows in several:
            for row in rows:
                reader.warn("repeated_total", message, row, "amount")


def _said(numbers: _Numbers, rows: Sequence[int]) -> set[Decimal]:
    return {numbers[row] for row in rows if row in numbers}


def _described_apart(reader: RowReader, several: Sequence[Sequence[int]]) -> bool:
    """Whether the lines of some invoice are for different things."""
    at = reader.layout.columns.get("description", reader.layout.columns.get("service_type"))
    rows = reader.table.rows
    return at is not None and any(
        len({text_of(rows[number - 1][at]) for number in numbers if at < len(rows[number - 1])}) > 1
        for numbers in several
    )
