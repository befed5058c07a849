"""Looks over rows that could be read for what a person should look at again."""

from collections.abc import Sequence
from decimal import Decimal

from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.model import Haul, Place

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


def _warn(notebook: Notebook, code: str, message: str, place: Place) -> None:
    notebook.warn(code, message, table=Table(place.file, place.sheet, ()), row=place.row)
