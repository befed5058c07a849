"""Reads ledgers and lists of transactions as invoice sheets: one signed amount, one kind a row.

QuickBooks lists bills, payments and checks by a type; AppFolio and Yardi put debits and credits
into columns of their own. Such a sheet is rewritten: the amount of a charge is positive, that of a
credit negative, and what is no charge is named so that it can be left out. A row that can be read
in two ways is a problem, never a guess.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from wastewise_jobs.analysis.intake.cells import Cell, is_number, text_of
from wastewise_jobs.analysis.intake.headers import AMOUNT_PAIRS, Layout, plain
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.sides import split_sides, word_at, words_in
from wastewise_jobs.analysis.intake.signs import has_value, is_negative, negated, net, turned
from wastewise_jobs.analysis.intake.transactions import (
    Kind,
    is_balance,
    is_credit,
    is_of_ledgers,
    is_payment,
    kind_of,
)

_FIELDS = ("debit", "credit", "paid", "unpaid", "transaction")
_TYPE_NAMES = ("type", "transaction", "trans")
_OTHER_WORDS = re.compile(r"\b(?:method|paid|pay|terms?|status|account|split|memo|check)\b")
_ACCOUNTS = ("account", "account name", "gl account", "distribution account", "expense account")
_SPLITS = ("split", "split account", "item split account")
_PAYABLE = re.compile(r"\baccounts? payables?\b|\ba ?p\b|^payables?$")


@dataclass(slots=True)
class _Entry:
    """A transaction: what it is and its cell on the side of the charges, as that is written."""

    number: int
    row: Sequence[Cell]
    word: str
    kind: Kind | None
    amount: Cell = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What each row of a ledger is, and its amount as written where that was read otherwise."""

    kinds: Mapping[int, Kind] = field(default_factory=dict)
    written: Mapping[int, Cell] = field(default_factory=dict)


@dataclass(slots=True)
class _Ledger:
    reader: RowReader
    types: int | None
    accounts: int | None
    splits: int | None
    entries: list[_Entry] = field(default_factory=list)


def read_ledger(reader: RowReader) -> Reading:
    """Rewrite the reader's sheet if it is a ledger; what its rows are.

    Nothing for a plain list of charges, which stays as it is.
    """
    split_sides(reader)
    columns = reader.layout.columns
    types = _types(reader)
    in_pairs = "amount" not in columns and any(columns.keys() >= set(p) for p in AMOUNT_PAIRS)
    in_sides = "amount" in columns and bool(columns.keys() & {"credit", "paid"})
    if types is None and not in_pairs and not in_sides:
        _forget(reader)
        return Reading()
    ledger = _Ledger(
        reader, types, _named(reader.layout, _ACCOUNTS), _named(reader.layout, _SPLITS)
    )
    ledger.entries = list(_entries(ledger))
    _read(ledger, in_pairs=in_pairs)
    _note_entries(ledger)
    reading = _reading(ledger, in_pairs=in_pairs)
    _rewrite(ledger)
    return reading


def _read(ledger: _Ledger, *, in_pairs: bool) -> None:
    if not in_pairs:
        _read_amounts(ledger)
    elif {"debit", "credit"} <= ledger.reader.layout.columns.keys():
        _read_sides(ledger, "debit", "credit")
    else:
        _add_up(ledger)


def _reading(ledger: _Ledger, *, in_pairs: bool) -> Reading:
    written: dict[int, Cell] = {}
    for entry in ledger.entries:
        cell = ledger.reader.cell(entry.row, "amount")
        if not in_pairs and cell != entry.amount:
            written[entry.number] = cell
    kinds = {entry.number: entry.kind for entry in ledger.entries if entry.kind is not None}
    return Reading(kinds, written)


def _note_entries(ledger: _Ledger) -> None:
    for entry in ledger.entries:
        if entry.kind is Kind.ENTRY:
            message = "Journal entries and adjustments were counted with their sign."
            ledger.reader.warn("journal_entries_counted", message, entry.number)


def _types(reader: RowReader) -> int | None:
    """The column of transaction types, by its name or by what stands in it."""
    columns, headers = reader.layout.columns, reader.layout.headers
    named = [at for at, name in enumerate(headers) if plain(name) in _TYPE_NAMES]
    for at in [columns["transaction"]] if "transaction" in columns else named:
        words, known = words_in(reader, at)
        if words and known * 2 >= words.total() and any(map(is_of_ledgers, words)):
            return at
    read = {at for name, at in columns.items() if name != "service_type"}
    for at, name in enumerate(headers):
        if at in read or _OTHER_WORDS.search(plain(name)):
            continue
        words, known = words_in(reader, at)
        kinds = {kind_of(word) for word in words if is_of_ledgers(word)}
        if Kind.CHARGE in kinds and len(kinds) > 1 and known * 5 >= words.total() * 4:
            return at
    return None


def _named(layout: Layout, names: Sequence[str]) -> int | None:
    found = [at for at, name in enumerate(layout.headers) if plain(name) in names]
    return found[0] if found else None


def _forget(reader: RowReader) -> None:
    """A list of charges: what it has of a ledger's columns means nothing to us."""
    columns = {at: to for at, to in reader.layout.columns.items() if at not in _FIELDS}
    if "transaction" in reader.layout.columns and "service_type" not in columns:
        columns["service_type"] = reader.layout.columns["transaction"]
    reader.layout = replace(reader.layout, columns=columns)


def _entries(ledger: _Ledger) -> Iterator[_Entry]:
    reader = ledger.reader
    above: Kind | None = None
    for number, row in reader:
        if reader.is_total(row) or reader.is_remark(row) or number in reader.groups.headings:
            continue
        word = word_at(row, ledger.types)
        kind = kind_of(word) if word else _worded(reader, row)
        if ledger.types is not None and not word and kind is None and not reader.is_dated(row):
            # A further line of the transaction above.
            kind = above
        yield _Entry(number, row, word, kind, reader.cell(row, "amount"))
        above = kind


def _worded(reader: RowReader, row: Sequence[Cell]) -> Kind | None:
    """What the row is by its words, where no type says it."""
    if any(is_balance(text_of(cell)) for cell in row if isinstance(cell, str)):
        return Kind.BALANCE
    paid = is_payment(_described(reader, row), negative=False)
    return Kind.PAYMENT if paid else None


def _described(reader: RowReader, row: Sequence[Cell]) -> str:
    return reader.text(row, "description") or reader.text(row, "service_type")


def _read_amounts(ledger: _Ledger) -> None:
    """One column of amounts, whose sign is that of its account: bills tell which way it runs."""
    reader = ledger.reader
    bills = [e for e in ledger.entries if e.kind is Kind.CHARGE and has_value(e.amount)]
    is_turned = sum(is_negative(bill.amount) for bill in bills) * 2 > len(bills)
    if is_turned:
        message = "Bills are written as negative amounts: all signs were turned."
        for bill in bills:
            reader.warn("signs_turned", message, bill.number, "amount")
    for entry in ledger.entries:
        if is_turned:
            entry.amount = turned(entry.amount)
        if not has_value(entry.amount):
            _read_blank(ledger, entry)
        elif ledger.types is not None:
            _settle(ledger, entry, bills)


def _read_blank(ledger: _Ledger, entry: _Entry) -> None:
    """Tell what stands in a column of payments or of credits where nothing is charged."""
    reader = ledger.reader
    paid, credit = reader.cell(entry.row, "paid"), reader.cell(entry.row, "credit")
    if has_value(paid) and is_number(paid):
        entry.kind, entry.amount = entry.kind or Kind.PAYMENT, negated(paid)
    elif has_value(credit) and is_number(credit):
        entry.amount = negated(credit)
        _judge_reduction(reader, entry, "credit")


def _settle(ledger: _Ledger, entry: _Entry, bills: Sequence[_Entry]) -> None:
    if entry.kind is Kind.CHECK:
        entry.kind = _of_check(ledger, entry, bills)
    if entry.kind is None:
        _problem(ledger, entry)
    elif entry.kind is Kind.CREDIT and not is_negative(entry.amount):
        message = "Credits written as positive amounts were taken off."
        ledger.reader.warn("credit_sign", message, entry.number, "amount")
        entry.amount = negated(entry.amount)
    elif entry.kind is Kind.EXPENSE and is_negative(entry.amount):
        message = "Expenses written as negative amounts, as paid, were counted as charges."
        ledger.reader.warn("expense_sign", message, entry.number, "amount")
        entry.amount = turned(entry.amount)


def _problem(ledger: _Ledger, entry: _Entry) -> None:
    said = f'"{entry.word}"' if entry.word else "a row without a transaction type"
    column = ledger.reader.layout.headers[ledger.types] if ledger.types is not None else ""
    ledger.reader.problem(
        entry.number, None,
        f"looks like a ledger, whose column {column} says what is a charge: "
        f"{said} is no charge, credit or payment that is known",
    )  # fmt: skip


def _of_check(ledger: _Ledger, entry: _Entry, bills: Sequence[_Entry]) -> Kind | None:
    """A payment, or an expense that no bill was written for; None where it cannot be told."""
    if ledger.splits is not None:
        payable = _PAYABLE.search(plain(word_at(entry.row, ledger.splits)))
        return Kind.PAYMENT if payable else Kind.EXPENSE
    account = word_at(entry.row, ledger.accounts)
    if account and not _PAYABLE.search(plain(account)):
        if any(word_at(bill.row, ledger.accounts) == account for bill in bills):
            return Kind.EXPENSE
        # QuickBooks calls no payment of a bill a check.
        if any(plain(other.word).startswith("bill p") for other in ledger.entries):
            return Kind.EXPENSE
    if not bills:
        message = "No bill is listed: checks were counted as charges."
        ledger.reader.warn("checks_counted", message, entry.number)
        return Kind.EXPENSE
    if is_negative(entry.amount) or any(bill.amount == entry.amount for bill in bills):
        return Kind.PAYMENT
    ledger.reader.problem(
        entry.number, "amount", "is a check beside bills: nothing says whether it pays one of them"
    )
    return Kind.PAYMENT


def _read_sides(ledger: _Ledger, debit: str, credit: str) -> None:
    """Two columns: bills, or else payments and the balance, tell which of them charges."""
    reader = ledger.reader
    charged = _charged_side(ledger)
    other = credit if charged == debit else debit
    reductions = [reader.cell(entry.row, other) for entry in ledger.entries]
    is_signed = 2 * sum(map(is_negative, reductions)) > sum(map(has_value, reductions))
    for entry in ledger.entries:
        plus, minus = reader.cell(entry.row, charged), reader.cell(entry.row, other)
        entry.amount = net(plus, turned(minus) if is_signed else minus)
        if entry.kind is Kind.CHECK:
            entry.kind = Kind.EXPENSE if has_value(plus) else Kind.PAYMENT
        if entry.kind is None and ledger.types is not None and has_value(entry.amount):
            _problem(ledger, entry)
        elif entry.kind is None and has_value(minus):
            _judge_reduction(reader, entry, other)


def _charged_side(ledger: _Ledger) -> str:
    reader = ledger.reader
    votes: Counter[str] = Counter()
    for entry in ledger.entries:
        in_debit = has_value(reader.cell(entry.row, "debit"))
        if in_debit == has_value(reader.cell(entry.row, "credit")):
            continue
        if entry.kind in {Kind.CHARGE, Kind.EXPENSE}:
            votes["debit" if in_debit else "credit"] += 2
        elif entry.kind in {Kind.PAYMENT, Kind.CREDIT} or is_credit(_described(reader, entry.row)):
            votes["credit" if in_debit else "debit"] += 1
    used = [side for side in ("debit", "credit") if _is_used(ledger, side)]
    if not votes and len(used) == 1:
        return used[0]
    if votes:
        return max(votes, key=lambda side: votes[side])
    header = reader.layout.header_row + 1
    message = "Debits were read as charges and credits as what reduces them: no type says it."
    reader.warn("debits_are_charges", message, header)
    return "debit"


def _is_used(ledger: _Ledger, side: str) -> bool:
    return any(has_value(ledger.reader.cell(entry.row, side)) for entry in ledger.entries)


def _judge_reduction(reader: RowReader, entry: _Entry, side: str) -> None:
    """A credit is counted and a payment is not: the words must tell which it is."""
    if entry.kind is not None:
        return
    text = _described(reader, entry.row)
    if is_payment(text, negative=True) or is_payment(
        reader.text(entry.row, "invoice_number"), negative=True
    ):
        entry.kind = Kind.PAYMENT
    elif is_credit(text):
        entry.kind = Kind.CREDIT
    else:
        reader.problem(
            entry.number, side, "reduces what is owed: nothing says whether as credit or as payment"
        )


def _add_up(ledger: _Ledger) -> None:
    """What is paid of a bill and what is not: together they are the bill."""
    reader = ledger.reader
    for entry in ledger.entries:
        paid, unpaid = reader.cell(entry.row, "paid"), reader.cell(entry.row, "unpaid")
        entry.amount = net(paid, turned(unpaid))
        if entry.kind is None and ledger.types is not None and has_value(entry.amount):
            _problem(ledger, entry)


def _rewrite(ledger: _Ledger) -> None:
    """The sheet with one more column: the amounts as they were read here."""
    reader, layout = ledger.reader, ledger.reader.layout
    width = max(map(len, reader.table.rows))
    amounts = {entry.number: entry.amount for entry in ledger.entries}
    title = _title(layout)
    headers = [*layout.headers, *[""] * (width - len(layout.headers)), title]
    if "amount" in layout.columns:
        headers[layout.columns["amount"]] = ""
    head = [text_of(cell) for cell in reader.table.rows[layout.header_row]]
    rows: list[Sequence[Cell]] = []
    for number, row in enumerate(reader.table.rows, 1):
        is_head = [text_of(cell) for cell in row] == head
        amount = title if is_head else amounts.get(number, _total_of(reader, row))
        rows.append([*row, *[None] * (width - len(row)), amount])
    columns = {name: at for name, at in layout.columns.items() if name not in _FIELDS}
    if columns.get("service_type") == ledger.types:
        columns.pop("service_type", None)
    columns["amount"] = width
    reader.table = replace(reader.table, rows=rows)
    reader.layout = replace(layout, columns=columns, headers=tuple(headers))


def _title(layout: Layout) -> str:
    if "amount" in layout.columns:
        return layout.header("amount")
    pair = next(pair for pair in AMOUNT_PAIRS if layout.columns.keys() >= set(pair))
    return " / ".join(map(layout.header, pair))


def _total_of(reader: RowReader, row: Sequence[Cell]) -> Cell:
    """The amount of a row that is no transaction: a total's."""
    if "amount" in reader.layout.columns:
        return reader.cell(row, "amount")
    if {"debit", "credit"} <= reader.layout.columns.keys():
        return net(reader.cell(row, "debit"), reader.cell(row, "credit"))
    return net(reader.cell(row, "paid"), turned(reader.cell(row, "unpaid")))
