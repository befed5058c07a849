"""The figures of a property, each from the sums of `measures` and held against its benchmark."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from wastewise_jobs.analysis import benchmarks
from wastewise_jobs.analysis.benchmarks import (
    TARGET_TONS_PER_HAUL,
    WEEKS_PER_MONTH,
    YARDS_PER_TON,
)
from wastewise_jobs.analysis.display import money
from wastewise_jobs.analysis.figures import Benchmark, Figure, Quantity, quantity
from wastewise_jobs.analysis.measures import HaulLog, Spend
from wastewise_jobs.analysis.model import (
    HAUL_LOG,
    INVOICE,
    Notice,
    PropertyFacts,
    Rows,
    rows_of,
)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The figures that could be calculated; a warning for each that could not or looks wrong."""

    figures: tuple[Figure, ...]
    warnings: tuple[Notice, ...]

    def figure(self, code: str) -> Figure | None:
        return next((figure for figure in self.figures if figure.code == code), None)


# What each figure with a verdict is made of.
_OF_INVOICES = {"cost_per_door"}
_OF_TONS = {"tons_per_haul", "capacity_utilisation"}


def measure(
    facts: PropertyFacts,
    spend: Spend | None,
    log: HaulLog | None,
    doubts: frozenset[str] = frozenset(),
) -> Metrics:
    """Every figure that the property, its invoices and its haul log allow.

    Band and verdict are empty for a figure outside of its plausible range, and for those of file
    types in `doubts`.
    """
    figures: list[Figure] = []
    warnings: list[Notice] = []
    if spend is None:
        warnings.append(Notice("no_invoices", "There are no invoices: no cost can be calculated."))
    else:
        figures += _cost_figures(facts, spend)
        warnings += _negative(spend)
    if log is None:
        message = "There is no haul log: no weight, haul or compactor figure can be calculated."
        warnings.append(Notice("no_haul_log", message))
    yards = _yards_per_door(facts, log, warnings)
    figures += [yards] if yards else []
    figures += _haul_figures(log) if log is not None else []
    warnings += _implausible(figures)
    return Metrics(tuple(_judged(figures, doubts)), tuple(warnings))


def _judged(figures: list[Figure], doubts: frozenset[str]) -> Iterable[Figure]:
    """The figures, without a verdict where none is due."""
    implausible = {figure.code for figure in figures if not figure.is_plausible}
    if implausible & _OF_TONS:
        implausible |= _OF_TONS
    for figure in figures:
        source = INVOICE if figure.code in _OF_INVOICES else HAUL_LOG
        if figure.code in implausible or (source in doubts and figure.rows):
            yield replace(figure, band="", verdict="")
        else:
            yield figure


def _negative(spend: Spend) -> list[Notice]:
    if spend.total >= 0:
        return []
    message = (
        f"Total spend is {money(spend.total)}: the files write charges as negative numbers, or "
        "hold mostly credits. Charges have to be positive, credits negative."
    )
    rows = rows_of(line.place for line in spend.lines if line.amount < 0)
    return [Notice("negative_spend", message, rows)]


def _cost_figures(facts: PropertyFacts, spend: Spend) -> list[Figure]:
    months = quantity("months", "Months covered", spend.months, "months",
                      "sum over calendar months of days covered / days in that month, "
                      "over the union of the service periods")  # fmt: skip
    total = quantity("total_spend", "Total spend", spend.total, "usd", "sum of all charge lines")
    monthly = quantity("monthly_cost", "Monthly cost", spend.monthly, "usd_per_month",
                       "total spend / months")  # fmt: skip
    units = quantity("units", "Apartments", facts.units, "units")
    value = spend.monthly / facts.units
    benchmark = benchmarks.cost_per_door(facts.property_type)
    band, verdict = benchmarks.cost_band(value, benchmark)
    door = quantity("cost_per_door", "Cost per door", value, "usd_per_door", "monthly cost / units")
    return [
        Figure(total, (), spend.rows),
        Figure(months, (), spend.rows),
        Figure(monthly, (total, months), spend.rows),
        Figure(door, (monthly, units), spend.rows, benchmark, band, verdict),
    ]


def _yards_per_door(
    facts: PropertyFacts, log: HaulLog | None, warnings: list[Notice]
) -> Figure | None:
    """Compactor yards, dumpster yards or, for MIXED equipment, both; None unless all are known."""
    units = quantity("units", "Apartments", facts.units, "units")
    inputs: list[Quantity] = []
    formulas: list[str] = []
    rows: tuple[Rows, ...] = ()
    yards = Fraction(0)
    if facts.equipment_type is None:
        message = "The equipment type is not known: yards per door cannot be calculated."
        warnings.append(Notice("no_equipment_type", message))
        return None
    if facts.equipment_type != "DUMPSTER":
        if log is None or log.annual_tons is None:
            message = "Without hauls on two days or more, yards per door cannot be calculated."
            warnings.append(Notice("no_haul_days", message))
            return None
        yards += log.annual_tons / 12 * Fraction(YARDS_PER_TON)
        inputs += _compactor_inputs(log)
        formulas.append("tons in the month × 14.49")
        rows = log.rows
    if facts.equipment_type != "COMPACTOR":
        dumpsters = _dumpster_inputs(facts)
        if dumpsters is None:
            message = (
                "Number, size or pickups a week of the dumpsters are not known: "
                "yards per door cannot be calculated."
            )
            warnings.append(Notice("no_dumpster_facts", message))
            return None
        yards += _product(dumpsters)
        inputs += dumpsters
        formulas.append("containers × size × pickups per week × 4.33")
    formula = " + ".join(formulas)
    formula = f"({formula}) / units" if len(formulas) > 1 else f"{formula} / units"
    value = yards / facts.units
    band, verdict = benchmarks.yards_band(value)
    result = quantity("yards_per_door", "Yards per door", value, "yards_per_door", formula)
    inputs.append(units)
    return Figure(result, tuple(inputs), rows, benchmarks.YARDS_PER_DOOR, band, verdict)


def _compactor_inputs(log: HaulLog) -> list[Quantity]:
    monthly = (log.annual_tons or Fraction(0)) / 12
    return [
        quantity("tons_in_month", "Tons in the month", monthly, "tons_per_month",
                 "tons × 365 / days covered / 12"),
        quantity("yards_per_ton", "Cubic yards per ton", YARDS_PER_TON, "yards_per_ton"),
    ]  # fmt: skip


def _dumpster_inputs(facts: PropertyFacts) -> list[Quantity] | None:
    if facts.containers is None or facts.container_yards is None or facts.pickups_per_week is None:
        return None
    return [
        quantity("containers", "Containers", facts.containers, "containers"),
        quantity("container_yards", "Size of each", facts.container_yards, "yards"),
        quantity("pickups_per_week", "Pickups per week", facts.pickups_per_week, "per_week"),
        quantity("weeks_per_month", "Weeks per month", WEEKS_PER_MONTH, "weeks_per_month"),
    ]


def _product(quantities: list[Quantity]) -> Fraction:
    result = Fraction(1)
    for entry in quantities:
        result *= Fraction(entry.value)
    return result


def _haul_figures(log: HaulLog) -> list[Figure]:
    tons = quantity("total_tons", "Total weight", log.tons, "tons", "sum of all hauls")
    hauls = quantity("hauls", "Hauls", log.count, "hauls", "number of hauls in the log")
    per_haul = quantity("tons_per_haul", "Tons per haul", log.tons_per_haul, "tons_per_haul",
                        "tons / hauls")  # fmt: skip
    target = quantity("target", "Target", TARGET_TONS_PER_HAUL, "tons_per_haul")
    used = log.tons_per_haul / Fraction(TARGET_TONS_PER_HAUL) * 100
    utilisation = quantity("capacity_utilisation", "Capacity utilisation", used, "percent",
                           "tons per haul / 8.5 × 100")  # fmt: skip
    return [
        Figure(hauls, (), log.rows),
        Figure(tons, (), log.rows),
        Figure(per_haul, (tons, hauls), log.rows, benchmarks.TONS_PER_HAUL,
               *benchmarks.tons_band(log.tons_per_haul)),
        Figure(utilisation, (per_haul, target), log.rows, benchmarks.UTILISATION,
               *benchmarks.utilisation_band(used)),
        *_interval_figures(log),
    ]  # fmt: skip


def _interval_figures(log: HaulLog) -> list[Figure]:
    if not log.intervals:
        return []
    longest = max(log.intervals)
    mean = Fraction(sum(log.intervals), len(log.intervals))
    figures = [
        Figure(
            quantity("days_between_pickups", "Days between pickups", mean, "days",
                     "mean of the differences of the sorted haul dates"),
            (
                quantity("shortest_gap", "Shortest", min(log.intervals), "days"),
                quantity("longest_gap", "Longest", longest, "days"),
            ),
            log.rows,
            benchmarks.DAYS_BETWEEN_PICKUPS,
            *benchmarks.pickup_band(mean, longest),
        )
    ]  # fmt: skip
    covered, hauls, tons = log.days_covered, log.annual_hauls, log.annual_tons
    if covered is None or hauls is None or tons is None:
        return figures
    days = quantity("days_covered", "Days covered by the haul log", covered, "days",
                    "first to last haul plus the mean interval")  # fmt: skip
    count = quantity("hauls", "Hauls", log.count, "hauls")
    weight = quantity("total_tons", "Total weight", log.tons, "tons")
    yearly = quantity("annual_hauls", "Hauls a year", hauls, "hauls_per_year",
                      "hauls × 365 / days covered")  # fmt: skip
    tonnage = quantity("annual_tons", "Tons a year", tons, "tons_per_year",
                       "tons × 365 / days covered")  # fmt: skip
    return [
        *figures,
        Figure(days, (), log.rows),
        Figure(yearly, (count, days), log.rows),
        Figure(tonnage, (weight, days), log.rows),
    ]


def _implausible(figures: list[Figure]) -> list[Notice]:
    return [
        Notice(
            "implausible_figure",
            f"{figure.result.label} is {figure.result.text}, outside the plausible "
            f"{_range(figure.benchmark)}: it gets no verdict; check the input.",
            figure.rows,
        )
        for figure in figures
        if figure.benchmark and not figure.is_plausible
    ]


def _range(benchmark: Benchmark) -> str:
    return f"{benchmark.plausible_low} to {benchmark.plausible_high}"
