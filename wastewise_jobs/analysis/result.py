"""The analysis as a value: made once, stored as JSON, rebuilt from it without loss.

In JSON every number is there twice: `value` (or a plain name) is a JSON number rounded half-up for
display, money to cents; `exact` is the unrounded value as a string, and the only one that is read
back. Row numbers are ranges, so that thousands of lines stay far below the 1 MiB of a result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from wastewise_jobs.analysis.breakdown import CategoryTotal, Month, categories_of, months_of
from wastewise_jobs.analysis.display import amount, money, number
from wastewise_jobs.analysis.doubts import doubtful, no_verdict, trusted
from wastewise_jobs.analysis.extraction import Extraction, bounded
from wastewise_jobs.analysis.figures import Figure
from wastewise_jobs.analysis.measures import HaulLog, Spend
from wastewise_jobs.analysis.metrics import measure
from wastewise_jobs.analysis.model import (
    FileSummary,
    InvoiceLine,
    JsonObject,
    Notice,
    PropertyFacts,
    rows_of,
)
from wastewise_jobs.analysis.periods import gaps
from wastewise_jobs.analysis.recommendations import (
    CONSIDER,
    Omission,
    Recommendation,
    lease_up_reason,
    recommend,
)

VERSION = 1
STEPS = ("Measuring spend and hauls", "Comparing with benchmarks", "Weighing recommendations")
# A haul log of a few years; a longer one is charted by month.
MOST_POINTS = 1000
MOST_WARNINGS = 200
MOST_VENDORS = 10
_UNTRUSTED = {"no_verdict", "implausible_figure", "negative_spend"}


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that the reports say; see `to_json` for its shape."""

    facts: PropertyFacts
    figures: tuple[Figure, ...]
    recommendations: tuple[Recommendation, ...]
    omissions: tuple[Omission, ...]
    lease_up: str
    categories: tuple[CategoryTotal, ...]
    months: tuple[Month, ...]
    points: tuple[tuple[date, Decimal], ...]
    warnings: tuple[Notice, ...]
    files: tuple[FileSummary, ...]

    def figure(self, code: str) -> Figure | None:
        """The figure of that name, if it could be calculated."""
        return next((figure for figure in self.figures if figure.code == code), None)

    @property
    def annual_savings(self) -> Decimal:
        """Net savings a year of what is recommended or strongly recommended."""
        recommended = (entry for entry in self.recommendations if entry.is_recommended)
        return sum((entry.annual_savings for entry in recommended), Decimal(0))

    @property
    def savings_to_consider(self) -> Decimal:
        """Net savings a year of what is only worth considering; not in `annual_savings`."""
        worth = (entry for entry in self.recommendations if entry.verdict == CONSIDER)
        return sum((entry.annual_savings for entry in worth), Decimal(0))

    @property
    def headline(self) -> str:
        """The one sentence that a manager reads."""
        if self.lease_up:
            return "The building is not full yet: no recommendation is made."
        if self.annual_savings > 0:
            count = sum(entry.is_recommended for entry in self.recommendations)
            measures = "one measure" if count == 1 else f"{count} measures"
            return f"{money(self.annual_savings, 0)} a year can be saved with {measures}."
        if self.savings_to_consider > 0:
            return f"{money(self.savings_to_consider, 0)} a year could be saved: worth considering."
        if any(warning.code in _UNTRUSTED for warning in self.warnings):
            return "The figures cannot be trusted yet: see the warnings."
        return "No measure would save money at present."

    def to_json(self) -> JsonObject:
        """The stored form: `from_json` makes an equal analysis of it."""
        return bounded(
            {
                "version": VERSION,
                "property": self.facts.to_json(),
                "summary": self._summary(),
                "metrics": [figure.to_json() for figure in self.figures],
                "recommendations": [entry.to_json() for entry in self.recommendations],
                "notRecommended": [entry.to_json() for entry in self.omissions],
                "leaseUp": {"detected": bool(self.lease_up), "reason": self.lease_up},
                "categories": [entry.to_json() for entry in self.categories],
                "months": [entry.to_json() for entry in self.months],
                "haulPoints": [[day.isoformat(), str(tons)] for day, tons in self.points],
                "warnings": [warning.to_json() for warning in self.warnings],
                "files": [file.to_json() for file in self.files],
            }
        )

    def _summary(self) -> JsonObject:
        codes = ("total_spend", "months", "monthly_cost", "cost_per_door", "yards_per_door",
                 "tons_per_haul", "capacity_utilisation", "hauls", "total_tons")  # fmt: skip
        numbers = {
            code: figure.to_json()["value"] for code in codes if (figure := self.figure(code))
        }
        return {
            "headline": self.headline,
            "annualSavings": amount(self.annual_savings),
            "annualSavingsExact": str(self.annual_savings),
            "savingsToConsider": amount(self.savings_to_consider),
            "recommended": [entry.code for entry in self.recommendations if entry.is_recommended],
            "totalSpend": numbers.get("total_spend"),
            "months": numbers.get("months"),
            "monthlyCost": numbers.get("monthly_cost"),
            "costPerDoor": numbers.get("cost_per_door"),
            "yardsPerDoor": numbers.get("yards_per_door"),
            "tonsPerHaul": numbers.get("tons_per_haul"),
            "capacityUtilisation": numbers.get("capacity_utilisation"),
            "hauls": numbers.get("hauls"),
            "totalTons": numbers.get("total_tons"),
            "firstMonth": self.months[0].month if self.months else None,
            "lastMonth": self.months[-1].month if self.months else None,
            "warnings": len(self.warnings),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Analysis":
        """The analysis that `to_json` wrote. Raises `ValueError` for another version's."""
        if stored.get("version") != VERSION:
            raise ValueError(f"stored analysis has version {stored.get('version')}, not {VERSION}")
        return cls(
            facts=PropertyFacts.from_json(stored["property"]),
            figures=tuple(Figure.from_json(entry) for entry in stored["metrics"]),
            recommendations=tuple(map(Recommendation.from_json, stored["recommendations"])),
            omissions=tuple(Omission.from_json(entry) for entry in stored["notRecommended"]),
            lease_up=stored["leaseUp"]["reason"],
            categories=tuple(map(CategoryTotal.from_json, stored["categories"])),
            months=tuple(map(Month.from_json, stored["months"])),
            points=tuple(
                (date.fromisoformat(day), Decimal(tons)) for day, tons in stored["haulPoints"]
            ),
            warnings=tuple(Notice.from_json(entry) for entry in stored["warnings"]),
            files=tuple(FileSummary.from_json(entry) for entry in stored["files"]),
        )


def analyse(
    facts: PropertyFacts,
    extraction: Extraction,
    *,
    on_step: Callable[[str], None] | None = None,
) -> Analysis:
    """Figures and recommendations for the property from what its files hold.

    `on_step` is called with each name of `STEPS` before that step; what it raises ends the work.
    """
    report = on_step or (lambda _: None)
    report(STEPS[0])
    warnings = list(extraction.warnings)
    facts = _with_equipment(facts, extraction, warnings)
    spend = Spend(extraction.invoice_lines) if extraction.invoice_lines else None
    log = HaulLog(extraction.hauls) if extraction.hauls else None
    report(STEPS[1])
    doubts = doubtful(extraction)
    metrics = measure(facts, spend, log, doubts)
    warnings += [*no_verdict(doubts), *metrics.warnings, *_coverage(spend), *_mixed_containers(log)]
    report(STEPS[2])
    yards = metrics.figure("yards_per_door")
    assessments = trusted(recommend(facts, spend, log, yards), metrics.figures, doubts)
    leasing = yards is not None and yards.band == "lease_up"
    return Analysis(
        facts=facts,
        figures=metrics.figures,
        recommendations=tuple(e for e in assessments if isinstance(e, Recommendation)),
        omissions=tuple(e for e in assessments if isinstance(e, Omission)),
        lease_up=lease_up_reason(yards) if yards is not None and leasing else "",
        categories=categories_of(extraction),
        months=months_of(extraction, spend),
        points=_points(extraction),
        warnings=_capped(warnings),
        files=extraction.files,
    )


def _with_equipment(
    facts: PropertyFacts, extraction: Extraction, warnings: list[Notice]
) -> PropertyFacts:
    """The facts; of an unknown equipment type a haul log of compactors tells."""
    types = {haul.container_type.casefold() for haul in extraction.hauls}
    if facts.equipment_type is not None or not types or not all("compact" in t for t in types):
        return facts
    message = "The equipment type is not given: taken as a compactor, as the haul log says."
    warnings.append(Notice("equipment_from_log", message))
    return replace(facts, equipment_type="COMPACTOR")


def _coverage(spend: Spend | None) -> list[Notice]:
    """What makes a monthly cost doubtful: gaps, little time, vendors that cover only a part."""
    if spend is None:
        return []
    notices = [
        Notice("coverage_gap", f"No charge covers {start} to {end}; these days do not count.")
        for start, end in gaps(line.covers for line in spend.lines)[:10]
    ]
    if spend.months < 3:  # noqa: PLR2004  # a season
        notices.append(Notice("short_period", "The invoices cover less than three months."))
    return notices + _vendor_coverage(spend)


def _vendor_coverage(spend: Spend) -> list[Notice]:
    vendors: dict[str, list[InvoiceLine]] = {}
    for line in spend.lines:
        vendors.setdefault(line.vendor, []).append(line)
    months = {vendor: Spend(lines).months for vendor, lines in vendors.items() if vendor}
    return [
        Notice(
            "vendor_coverage",
            f"The charges of {vendor} cover {number(covered, 1)} of {number(spend.months, 1)} "
            "months: the monthly cost may be too low.",
            rows_of(line.place for line in vendors[vendor]),
        )
        for vendor, covered in months.items()
        if covered < spend.months - 1
    ][:MOST_VENDORS]


def _mixed_containers(log: HaulLog | None) -> list[Notice]:
    if log is None:
        return []
    others = [
        h for h in log.hauls if h.container_type and "compact" not in h.container_type.lower()
    ]
    if not others or len(others) == log.count:
        return []
    message = "These hauls are of another container than the compactor; they are counted with it."
    return [Notice("mixed_containers", message, rows_of(haul.place for haul in others))]


def _capped(warnings: list[Notice]) -> tuple[Notice, ...]:
    if len(warnings) <= MOST_WARNINGS:
        return tuple(warnings)
    more = Notice("more_warnings", f"{len(warnings) - MOST_WARNINGS} more warnings are not listed.")
    return (*warnings[:MOST_WARNINGS], more)


def _points(extraction: Extraction) -> tuple[tuple[date, Decimal], ...]:
    if len(extraction.hauls) > MOST_POINTS:
        return ()
    return tuple(sorted((haul.day, haul.tons) for haul in extraction.hauls))
