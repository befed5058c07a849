"""Groups of rows as reports print them: a name alone, its rows, and the total of that name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wastewise_jobs.analysis.intake.cells import Cell, is_blank, text_of
from wastewise_jobs.analysis.intake.headers import Layout

_NAMED = re.compile(
    r"(?:(?:sub|grand)[ -]?)?(?:totals?|gesamt(?:summe)?|summe|somme|suma|totale|totaal)"
    r"(?: (?:for|of|de|du|di|für|fuer|van|voor))?[ :-]+(?P<name>\S.*)",
    re.IGNORECASE,
)
_NAME_FIRST = re.compile(r"(?P<name>\S.*?)[ :-]+(?:sub)?totals?\s*:?", re.IGNORECASE)
_DEEPEST = 8
# All labels of totals hold one of these.
_HINT = re.compile(r"tot|som|sum|gesamt", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Groups:
    """Names that a total may be of, the rows that are such a name alone, the group of each row."""

    names: frozenset[str]
    headings: frozenset[int]
    group: Mapping[int, str]


def named_total(text: str) -> str:
    """The name, in lower case, that the label of a total says: `acme` of `Total Acme`."""
    match = _NAMED.fullmatch(text) or _NAME_FIRST.fullmatch(text)
    return match["name"].casefold() if match else ""


def groups_of(rows: Sequence[Sequence[Cell]], layout: Layout) -> Groups:
    """The groups below the header. A name without a total of its own is none."""
    below = range(layout.header_row + 1, len(rows))
    alone = {at + 1: name for at in below if (name := _alone(rows[at]))}
    totals = {at + 1: names for at in below if (names := _totals(rows[at]))}
    totalled = {name for names in totals.values() for name in names}
    headings = {
        number: name for number, name in alone.items()
        if name.casefold() in totalled and number not in totals
    }  # fmt: skip
    vendors = layout.columns.get("vendor")
    names = {name.casefold() for name in headings.values()}
    for column in (vendors, layout.columns.get("invoice_number")):
        if column is not None and totals:
            named = (text_of(rows[at][column]) for at in below if column < len(rows[at]))
            names |= {name.casefold() for name in named}
    return Groups(frozenset(names), frozenset(headings), _grouped(below, headings, totals))


def _alone(row: Sequence[Cell]) -> str:
    cells = [cell for cell in row if not is_blank(cell)]
    return text_of(cells[0]) if len(cells) == 1 and isinstance(cells[0], str) else ""


def _totals(row: Sequence[Cell]) -> set[str]:
    texts = (text_of(cell) for cell in row if isinstance(cell, str) and _HINT.search(cell))
    return {name for text in texts if (name := named_total(text))}


def _grouped(
    below: range, headings: Mapping[int, str], totals: Mapping[int, set[str]]
) -> dict[int, str]:
    """The innermost open group of each row."""
    grouped: dict[int, str] = {}
    opened: list[str] = []
    for at in below:
        number = at + 1
        if number in headings:
            opened = [*opened[1 - _DEEPEST :], headings[number]]
        for name in totals.get(number, ()):
            folded = [group.casefold() for group in opened]
            opened = opened[: folded.index(name)] if name in folded else opened
        if opened:
            grouped[number] = opened[-1]
    return grouped
