"""The HTML report: one file without script or anything to load, to be forwarded and printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wastewise_jobs.analysis.breakdown import Month
from wastewise_jobs.analysis.display import money, number, parts
from wastewise_jobs.analysis.figures import Figure
from wastewise_jobs.analysis.model import FileSummary, Notice, PropertyFacts, Rows
from wastewise_jobs.analysis.reports.charts import (
    COLOURS,
    gauge,
    haul_chart,
    month_name,
    spend_chart,
)
from wastewise_jobs.analysis.result import Analysis

VERDICTS = {
    "strongly_recommend": ("Strongly recommended", "good"),
    "recommend": ("Recommended", "good"),
    "consider": ("Worth considering", "watch"),
    "do_not_recommend": ("Not recommended", "plain"),
}
_TONES = {
    "good": {"good", "normal", "on_target", "excellent", "ideal"},
    "act": {"high", "heavy", "poor", "over_maximum", "lease_up"},
}
_KEY_FIGURES = (
    "cost_per_door",
    "yards_per_door",
    "tons_per_haul",
    "capacity_utilisation",
    "days_between_pickups",
    "monthly_cost",
)
LONGEST_ROWS = 120


def render_html(analysis: Analysis) -> str:
    """The report as an HTML document. The same analysis gives the same bytes."""
    page = _environment().get_template("report.html.j2")
    return page.render(
        analysis=analysis,
        facts=analysis.facts,
        description=described(analysis.facts),
        period=period_of(analysis),
        cards=[_card(figure) for code in _KEY_FIGURES if (figure := analysis.figure(code))],
        spend_chart=spend_chart(_charged(analysis)) if analysis.categories else Markup(""),
        haul_chart=haul_chart(analysis.points, analysis.months) if _has_hauls(analysis) else "",
        colours=COLOURS,
        verdicts=VERDICTS,
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("wastewise_jobs.analysis.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": money,
        "number": number,
        "sources": _sources,
        "warning": _warning,
        "columns": _columns,
    }
    return environment


@dataclass(frozen=True, slots=True)
class Card:
    """A key figure as the page shows it."""

    figure: Figure
    number: str
    unit: str
    tone: str
    gauge: Markup


def _card(figure: Figure) -> Card:
    shown, unit = parts(figure.value, figure.result.unit)
    tone = next((tone for tone, bands in _TONES.items() if figure.band in bands), "watch")
    return Card(figure, shown, unit.strip(), tone if figure.band else "plain", gauge(figure))


def described(facts: PropertyFacts) -> str:
    """The property in a line."""
    place = ", ".join(part for part in (facts.city, facts.state) if part)
    equipment = {
        "COMPACTOR": "Compactor",
        "DUMPSTER": "Dumpsters",
        "MIXED": "Compactor and dumpsters",
    }
    dumpsters = ""
    if facts.containers is not None and facts.container_yards is not None:
        dumpsters = f" ({facts.containers} × {facts.container_yards.normalize():f} yd³)"
    served = equipment.get(facts.equipment_type or "", "") + dumpsters
    described = (f"{facts.units:,} apartments", facts.property_type, place, served)
    return " · ".join(part for part in described if part)


def period_of(analysis: Analysis) -> str:
    """What the invoices and the haul log cover, in a line."""
    charged = [month.month for month in analysis.months if month.days_covered]
    hauled = [month.month for month in analysis.months if month.hauls]
    named = (("Invoices", charged), ("Haul log", hauled))
    return " · ".join(
        f"{name} {_from_to(months[0], months[-1])}" for name, months in named if months
    )


def _from_to(first: str, last: str) -> str:
    return month_name(first) if first == last else f"{month_name(first)} to {month_name(last)}"


def _charged(analysis: Analysis) -> Sequence[Month]:
    """The months from the first to the last that a charge covers."""
    covered = [at for at, month in enumerate(analysis.months) if month.days_covered]
    return analysis.months[covered[0] : covered[-1] + 1]


def _has_hauls(analysis: Analysis) -> bool:
    return any(month.hauls for month in analysis.months)


def _sources(rows: Sequence[Rows]) -> str:
    """The rows in a line; a long list is cut, the workbook names every row."""
    return "; ".join(str(Rows(r.file, r.sheet, _cut(r.rows))) for r in rows)


def _warning(notice: Notice) -> str:
    where = _sources(notice.rows)
    column = f', column "{notice.column}"' if notice.column else ""
    return f"{where}{column}" if where else ""


def _cut(rows: str) -> str:
    return rows if len(rows) <= LONGEST_ROWS else f"{rows[:LONGEST_ROWS].rpartition(',')[0]} …"


def _columns(file: FileSummary) -> str:
    return ", ".join(f"{header} = {field.replace('_', ' ')}" for field, header in file.columns)
