"""The constants and bands that figures are held against."""

from decimal import Decimal
from fractions import Fraction

from wastewise_jobs.analysis.figures import Benchmark

WEEKS_PER_MONTH = Decimal("4.33")
# EPA density 138 lb per cubic yard at 2000 lb per ton.
YARDS_PER_TON = Decimal("14.49")
DAYS_PER_YEAR = 365
TARGET_TONS_PER_HAUL = Decimal("8.5")
YARDS_PER_DOOR_BENCHMARK = Decimal("2.2")
# More than 40% under the benchmark: a building that is not full yet.
LEASE_UP_BELOW = Decimal("1.32")

GOOD_COST_PER_DOOR = Decimal(30)
_COST_RANGES = {
    "Garden-Style": (Decimal(18), Decimal(35)),
    "Mid-Rise": (Decimal(20), Decimal(40)),
    "High-Rise": (Decimal(25), Decimal(45)),
}

YARDS_PER_DOOR = Benchmark(
    "2.0 to 2.5 yd³ per door", Decimal("2.0"), Decimal("2.5"), Decimal(1), Decimal(5)
)
TONS_PER_HAUL = Benchmark("target 8.5 (8 to 9)", Decimal(8), Decimal(9), Decimal(2), Decimal(15))
UTILISATION = Benchmark("90% and more is excellent", Decimal(90), Decimal(100))
DAYS_BETWEEN_PICKUPS = Benchmark("7 to 10 days, 14 at most", Decimal(7), Decimal(10), None, None)
LONGEST_GAP_DAYS = 14


def cost_per_door(property_type: str | None) -> Benchmark:
    """The range for the property type; for an unknown one, from the lowest to the highest."""
    low, high = _COST_RANGES.get(property_type or "", (Decimal(18), Decimal(45)))
    of = property_type or "any property type"
    text = f"${low} to ${high} ({of}), good under $30"
    return Benchmark(text, low, high, Decimal(10), Decimal(100))


def cost_band(value: Fraction, benchmark: Benchmark) -> tuple[str, str]:
    """Good (under $30), typical (within the range) or high."""
    high = Fraction(benchmark.high or 0)
    if value < Fraction(GOOD_COST_PER_DOOR):
        low = Fraction(benchmark.low or 0)
        return "good", "Good: under $30" + (" and below the usual range" if value < low else "")
    if value <= high:
        return "typical", "Within the usual range, but not under $30"
    return "high", "Above the usual range"


def yards_band(value: Fraction) -> tuple[str, str]:
    """lease_up (under 1.32), low, normal or high."""
    if value < Fraction(LEASE_UP_BELOW):
        return "lease_up", "More than 40% under the benchmark of 2.2: the building is not full yet"
    if value < 2:  # noqa: PLR2004  # the lower end of the range
        return "low", "Below the usual range"
    if value <= Fraction(5, 2):
        return "normal", "Within the usual range"
    return (
        "high",
        "Above the usual range: more waste, or more capacity, than homes of this number need",
    )


def tons_band(value: Fraction) -> tuple[str, str]:
    """Light (under 8), on_target or heavy (over 9)."""
    if value < 8:  # noqa: PLR2004  # the target's lower end
        return "light", "Below the target: the compactor is hauled before it is full"
    if value <= 9:  # noqa: PLR2004  # the target's upper end
        return "on_target", "On target"
    return "heavy", "Above the target: overweight charges are likely"


def utilisation_band(value: Fraction) -> tuple[str, str]:
    """Excellent from 90, good from 70, fair from 50, else poor."""
    if value >= 90:  # noqa: PLR2004  # the bands' own numbers
        return "excellent", "Excellent: 90% of the target weight or more"
    if value >= 70:  # noqa: PLR2004
        return "good", "Good: 70 to 89% of the target weight"
    if value >= 50:  # noqa: PLR2004
        return "fair", "Fair: 50 to 69% of the target weight"
    return "poor", "Poor: less than half of the target weight"


def pickup_band(mean: Fraction, longest: int) -> tuple[str, str]:
    """over_maximum (a gap of more than 14 days), frequent, ideal or infrequent."""
    if longest > LONGEST_GAP_DAYS:
        return "over_maximum", f"The longest gap of {longest} days is over the maximum of 14"
    if mean < 7:  # noqa: PLR2004  # the ideal's lower end
        return "frequent", "More often than the ideal of 7 to 10 days"
    if mean <= 10:  # noqa: PLR2004  # the ideal's upper end
        return "ideal", "Ideal"
    return "infrequent", "Less often than the ideal of 7 to 10 days, within the maximum of 14"
