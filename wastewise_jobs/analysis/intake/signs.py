"""Amounts as they are written: whether they say something, their sign, the other sign.

The digits stay as they are, because only the whole column tells how its numbers are to be read.
"""

import re

from wastewise_jobs.analysis.intake.cells import Cell, is_blank, number_of

_NEGATIVE = re.compile(
    r"\D*?[-(\u2212\u2013].*|.*(?:-|CR\.?)\s*(?:USD|\$)?\s*", re.IGNORECASE | re.DOTALL
)
_SOMETHING = re.compile(r"[1-9]")


def net(plus: Cell, minus: Cell) -> Cell:
    """The one that has a value as it is written, the difference where both have one."""
    if not has_value(minus):
        return minus if is_blank(plus) else plus
    if not has_value(plus):
        return turned(minus)
    try:
        return str(number_of(plus) - number_of(minus))
    except ValueError:
        return f"{plus} / {minus}"


def has_value(cell: Cell) -> bool:
    """Whether there is something else than a zero, a dash or nothing."""
    return bool(cell) if isinstance(cell, float | int) else bool(_SOMETHING.search(str(cell or "")))


def is_negative(cell: Cell) -> bool:
    """Whether an amount is written as a negative one, be it readable or not."""
    if isinstance(cell, float | int):
        return cell < 0
    return bool(_NEGATIVE.fullmatch(str(cell or "")))


def turned(cell: Cell) -> Cell:
    """The amount with the other sign, its digits as they are written."""
    if isinstance(cell, float | int):
        return -cell
    if not isinstance(cell, str) or is_blank(cell):
        return cell
    if is_negative(cell):
        return re.sub(r"[-()\u2212\u2013]|CR\.?\s*$", "", cell, flags=re.IGNORECASE).strip()
    return f"-{cell.strip()}"


def negated(cell: Cell) -> Cell:
    """What a column of credits or payments says, which is taken off with either sign."""
    return cell if is_negative(cell) else turned(cell)
