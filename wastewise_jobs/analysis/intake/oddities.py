"""Looks over rows that could be read for what a person should look at again."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.model import Haul, InvoiceLine, Place
from wastewise_jobs.analysis.periods import months_in

_LONG_DAYS = 45
_STRETCHED = Fraction(5, 4)
PLAUSIBLE_TONS = (Decimal(2), Decimal(15))


def note_oddities(hauls: Sequence[Haul], notebook: Notebook) -> None:
    """Warn about hauls entered twice and odd weights."""
    seen: set[tuple[object, ...]] = set()
    for haul in hauls:
        key = (haul.day, haul.time, haul.container_type, haul.tons, haul.location)
        if key in seen:
            _warn(notebook, "haul_twice", "Looks like an earlier haul; counted.", haul.place)
        seen.add(key)
        if haul.tons and not PLAUSIBLE_TONS[0] <= haul.tons <= PLAUSIBLE_TONS[1]:
            message = "A haul outside 2 to 15 tons is unusual; counted."
            _warn(notebook, "unusual_tons", message, haul.place)


def note_stretched(lines: Sequence[InvoiceLine], notebook: Notebook) -> None:
    """Warn of long periods of minor charges that reach where nothing else is charged.

    A yearly fee among two months of hauling makes twelve months of them.
    """
    long = [line for line in lines if (line.covers[1] - line.covers[0]).days > _LONG_DAYS]
    usual = [line for line in lines if (line.covers[1] - line.covers[0]).days <= _LONG_DAYS]
    if not long or not usual or _spend(long) * 2 > _spend(lines):
        return
    months, without = (months_in(line.covers for line in some) for some in (lines, usual))
    if months > without * _STRETCHED:
        message = (
            f"Long service periods reach beyond all other charges: with them {float(months):.1f} "
            f"months are covered, without them {float(without):.1f}. Check their dates."
        )
        for line in long:
            _warn(notebook, "period_reaches_out", message, line.place)


def _spend(lines: Sequence[InvoiceLine]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0))


def _warn(notebook: Notebook, code: str, message: str, place: Place) -> None:
    notebook.warn(code, message, table=Table(place.file, place.sheet, ()), row=place.row)
