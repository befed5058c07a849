"""Looks over rows that could be read for what a person should look at again."""

from collections.abc import Sequence
from decimal import Decimal

from wastewise_jobs.analysis.intake.tables import Notebook, Table
from wastewise_jobs.analysis.model import Haul, InvoiceLine, Place

PLAUSIBLE_TONS = (Decimal(2), Decimal(15))


def note_oddities(lines: Sequence[InvoiceLine], hauls: Sequence[Haul], notebook: Notebook) -> None:
    """Warn about lines that appear in two files, hauls entered twice and odd weights."""
    _note_lines_in_two_sheets(lines, notebook)
    seen: set[tuple[object, ...]] = set()
    for haul in hauls:
        key = (haul.day, haul.time, haul.container_type, haul.tons, haul.location)
        if key in seen:
            _warn(notebook, "haul_twice", "Looks like an earlier haul; counted.", haul.place)
        seen.add(key)
        if haul.tons and not PLAUSIBLE_TONS[0] <= haul.tons <= PLAUSIBLE_TONS[1]:
            message = "A haul outside 2 to 15 tons is unusual; counted."
            _warn(notebook, "unusual_tons", message, haul.place)


def _note_lines_in_two_sheets(lines: Sequence[InvoiceLine], notebook: Notebook) -> None:
    # Within one sheet equal lines are common: two hauls of one month at one price.
    first: dict[tuple[object, ...], Place] = {}
    for line in lines:
        if not line.invoice_number:
            continue
        key = (
            line.invoice_number.casefold(),
            line.covers,
            line.service_type.casefold(),
            line.description.casefold(),
            line.amount,
        )
        place = first.setdefault(key, line.place)
        if (place.file, place.sheet) != (line.place.file, line.place.sheet):
            other = f"{place.file}, sheet {place.sheet}" if place.sheet else place.file
            message = f"The same invoice lines are also in {other}; counted twice."
            _warn(notebook, "line_in_two_files", message, line.place)


def _warn(notebook: Notebook, code: str, message: str, place: Place) -> None:
    notebook.warn(code, message, table=Table(place.file, place.sheet, ()), row=place.row)
