"""Numbers as people read them: the only place where anything is rounded, half-up.

Inside, a figure is exact (`Fraction`) or a Decimal; in JSON it is a number rounded here, with the
exact value as a string beside it.
"""

from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

# Exact enough that no display of a quotient depends on it.
_CONTEXT = Context(prec=34, rounding=ROUND_HALF_UP)


def decimal_of(value: Fraction) -> Decimal:
    """The fraction as a Decimal of 34 digits; short where the quotient ends."""
    quotient = _CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))
    plain = quotient.normalize(_CONTEXT)
    return plain.quantize(Decimal(1)) if plain == plain.to_integral_value() else plain


def rounded(value: Decimal | Fraction, places: int) -> Decimal:
    """The value half-up to so many places; a zero has no sign."""
    exact = decimal_of(value) if isinstance(value, Fraction) else value
    result = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _CONTEXT)
    return abs(result) if result == 0 else result


def amount(value: Decimal | Fraction, places: int = 2) -> float:
    """The value as a JSON number, for display by programs that read no strings."""
    return float(rounded(value, places))


def number(value: Decimal | Fraction, places: int = 2) -> str:
    """`1,234.50`, with a true minus sign."""
    return f"{rounded(value, places):,}".replace("-", "\u2212")


def money(value: Decimal | Fraction, places: int = 2) -> str:
    """`$1,234.50`, `\u2212$12.00`."""
    cents = rounded(value, places)
    return f"\u2212${-cents:,}" if cents < 0 else f"${cents:,}"


# unit -> places and what is written behind the number
_UNITS = {
    "usd": (2, ""),
    "usd_per_month": (2, " a month"),
    "usd_per_year": (2, " a year"),
    "usd_per_door": (2, " per door"),
    "usd_per_haul": (2, " per haul"),
    "yards_per_door": (2, " yd³ per door"),
    "yards": (2, " yd³"),
    "yards_per_month": (1, " yd³ a month"),
    "yards_per_ton": (2, " yd³ per ton"),
    "tons": (2, " tons"),
    "tons_per_haul": (2, " tons per haul"),
    "tons_per_month": (2, " tons a month"),
    "tons_per_year": (1, " tons a year"),
    "hauls": (0, " hauls"),
    "hauls_per_year": (2, " hauls a year"),
    "percent": (1, "%"),
    "days": (1, " days"),
    "months": (2, " months"),
    "weeks_per_month": (2, " weeks a month"),
    "per_week": (1, " a week"),
    "units": (0, " units"),
    "containers": (0, " containers"),
    "count": (0, ""),
}


def shown(value: Decimal | Fraction, unit: str) -> str:
    """The value with its unit as a report shows it."""
    return "".join(parts(value, unit))


def parts(value: Decimal | Fraction, unit: str) -> tuple[str, str]:
    """The value as a report shows it, and what is written behind it."""
    places, suffix = _UNITS[unit]
    text = money(value, places) if unit.startswith("usd") else number(value, places)
    return text, suffix


def places_of(unit: str) -> int:
    """To how many places a JSON number of this unit is rounded: cents, else four."""
    return 2 if unit.startswith("usd") else 4
