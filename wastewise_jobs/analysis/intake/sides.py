"""The words of a column that say what its rows are: a type, or whether debit or credit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from wastewise_jobs.analysis.intake.cells import Cell, text_of
from wastewise_jobs.analysis.intake.headers import plain
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.transactions import kind_of

_SIDE_WORDS = {"d": "debit", "dr": "debit", "debit": "debit",
               "c": "credit", "cr": "credit", "credit": "credit"}  # fmt: skip
_MOST_WORDS = 100


def split_sides(reader: RowReader) -> None:
    """Make columns of debits and of credits where a word beside the amount says which it is."""
    columns = reader.layout.columns
    if "amount" not in columns or columns.keys() & {"debit", "credit"}:
        return
    read = {at for name, at in columns.items() if name not in {"service_type", "transaction"}}
    for at in sorted(set(range(len(reader.layout.headers))) - read):
        words, _ = words_in(reader, at)
        if {_SIDE_WORDS.get(plain(word)) for word in words} == {"debit", "credit"}:
            _write_sides(reader, at)
            return


def _write_sides(reader: RowReader, at: int) -> None:
    layout, width = reader.layout, max(map(len, reader.table.rows))
    rows: list[Sequence[Cell]] = []
    for number, row in enumerate(reader.table.rows, 1):
        side = _SIDE_WORDS.get(plain(word_at(row, at)))
        amount = reader.cell(row, "amount")
        sides: tuple[Cell, Cell] = (amount, None) if side != "credit" else (None, amount)
        is_head = number == layout.header_row + 1
        rows.append(
            [*row, *[None] * (width - len(row)), *(("Debit", "Credit") if is_head else sides)]
        )
    columns = {name: to for name, to in layout.columns.items() if name != "amount" and to != at}
    columns |= {"debit": width, "credit": width + 1}
    headers = (*layout.headers, *[""] * (width - len(layout.headers)), "Debit", "Credit")
    headers = tuple(
        "" if to == layout.columns["amount"] else name for to, name in enumerate(headers)
    )
    reader.table = replace(reader.table, rows=rows)
    reader.layout = replace(layout, columns=columns, headers=headers)


def words_in(reader: RowReader, at: int) -> tuple[Counter[str], int]:
    """What a column says how often, and how much of it is a type that is known; few words only."""
    words: Counter[str] = Counter()
    for _, row in reader:
        words[word_at(row, at)] += 1
        if len(words) > _MOST_WORDS:
            return Counter(), 0
    words.pop("", None)
    return words, sum(count for word, count in words.items() if kind_of(word) is not None)


def word_at(row: Sequence[Cell], at: int | None) -> str:
    """The text in a column; nothing where there is no such column or cell."""
    return text_of(row[at]) if at is not None and at < len(row) else ""
