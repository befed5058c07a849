"""Reads a haul log into hauls; weights in pounds become tons of 2000 lb."""

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from statistics import median

from wastewise_jobs.analysis.intake.cells import Cell, is_blank, number_of, time_text
from wastewise_jobs.analysis.intake.decimals import is_decimal_comma
from wastewise_jobs.analysis.intake.nocharge import LEFT_OUT, reason_no_haul
from wastewise_jobs.analysis.intake.reconcile import reconcile
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.tickets import Tickets
from wastewise_jobs.analysis.intake.units import said_unit
from wastewise_jobs.analysis.model import Haul

POUNDS_PER_TON = Decimal(2000)
# No truck carries more on the road: such a number is in pounds or wrong.
MOST_TONS = Decimal(100)
# A column that only says "weight" is in pounds when its numbers are.
_POUNDS_FROM = Decimal(100)
# No haul weighs more, and few things that are hauled weigh as little in pounds.
_HEAVIEST_TONS = Decimal(40)


def read_hauls(reader: RowReader) -> list[Haul]:
    """The hauls of the sheet, in its order; problems and warnings go to the notebook."""
    name = next(n for n in ("tons", "pounds", "weight") if n in reader.layout.columns)
    at = reader.layout.columns[name]
    header = reader.layout.header_row + 1
    european = is_decimal_comma(reader, name)
    pounds = name == "pounds"
    if name == "weight" and (unit := said_unit(reader)):
        pounds = unit == "pounds"
    elif name == "weight":
        pounds = _are_pounds(reader, at, european=european)
        unit = "pounds" if pounds else "tons"
        reader.warn("weight_unit", f"The column names no unit: read as {unit}.", header, name)
    tickets = Tickets(reader)
    hauls: list[Haul] = []
    for number, row in reader:
        if _is_skipped(reader, number, row, name):
            continue
        if reader.stands_alone(row, name):
            parts = sum((haul.tons for haul in hauls), Decimal(0)) * (
                POUNDS_PER_TON if pounds else 1
            )
            reader.skip_bare_total(number, row, name, parts, european=european)
            continue
        tickets.look_at(number, row)
        haul = _haul(reader, number, row, name, pounds=pounds, european=european)
        hauls += [haul] if haul is not None else []
    reader.rows_read = len(hauls)
    scale = POUNDS_PER_TON if pounds else Decimal(1)
    counted = {haul.place.row: haul.tons * scale for haul in hauls}
    reconcile(reader, counted, name, partial(number_of, european=european))
    return hauls


def _are_pounds(reader: RowReader, at: int, *, european: bool) -> bool:
    """Whether the numbers are pounds; tons among them are a problem."""
    numbers: dict[int, Decimal] = {}
    for number, row in reader:
        with suppress(ValueError):
            if at < len(row) and reader.is_dated(row):
                numbers[number] = number_of(row[at], european=european)
    reader.skipped.clear()
    if not numbers or median(numbers.values()) < _POUNDS_FROM:
        return False
    for number, weight in numbers.items():
        if 0 < weight <= _HEAVIEST_TONS:
            problem = f"{weight} looks like tons, other rows like pounds: write all in one unit"
            reader.problem(number, "weight", problem)
    return True


def _is_skipped(reader: RowReader, number: int, row: Sequence[Cell], name: str) -> bool:
    if reader.is_total(row):
        reader.skip_total(number)
        return True
    if reason := reason_no_haul(reader, number, row):
        reader.skip_and_warn(reason, number, LEFT_OUT[reason])
        return True
    if is_blank(reader.cell(row, name)) and (not reader.is_dated(row) or reader.is_remark(row)):
        message = "Rows without a date and a weight were left out."
        reader.skip_and_warn("note rows", number, message)
        return True
    return False


def _haul(
    reader: RowReader,
    number: int,
    row: Sequence[Cell],
    name: str,
    *,
    pounds: bool,
    european: bool,
) -> Haul | None:
    weight = reader.cell(row, name)
    day = reader.day(number, row, "date")
    if is_blank(reader.cell(row, "date")):
        reader.problem(number, "date", "is empty")
    tons = _tons(reader, number, name, weight, pounds=pounds, european=european)
    if day is None or tons is None:
        return None
    return Haul(
        place=reader.place(number),
        day=day,
        time=time_text(reader.cell(row, "time")),
        container_type=reader.text(row, "container_type"),
        tons=tons,
        location=reader.text(row, "location"),
        notes=reader.text(row, "notes"),
    )


def _tons(
    reader: RowReader, number: int, name: str, cell: Cell, *, pounds: bool, european: bool
) -> Decimal | None:
    if is_blank(cell):
        reader.problem(
            number, name, "is empty (or holds a formula whose value was never calculated)"
        )
        return None
    weight = reader.read(number, name, cell, partial(number_of, european=european))
    if weight is None:
        return None
    tons = weight / POUNDS_PER_TON if pounds else weight
    if tons < 0:
        reader.problem(number, name, f"{weight} is negative")
        return None
    if tons > MOST_TONS:
        reader.problem(
            number, name, f"{weight} is no weight of one haul in {'pounds' if pounds else 'tons'}"
        )
        return None
    if tons == 0:
        reader.warn("empty_haul", "A haul without weight was counted.", number, name)
    return tons
