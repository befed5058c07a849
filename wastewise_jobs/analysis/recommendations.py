"""The four recommendations, each with its full calculation: inputs, conditions, steps, verdict.

A recommendation whose conditions do not hold is an `Omission` that says why. While a building is
leasing up none is made at all: its volumes say nothing about those of a full one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from wastewise_jobs.analysis.benchmarks import (
    LEASE_UP_BELOW,
    LONGEST_GAP_DAYS,
    TARGET_TONS_PER_HAUL,
    YARDS_PER_DOOR_BENCHMARK,
)
from wastewise_jobs.analysis.display import amount, money, number
from wastewise_jobs.analysis.figures import Figure, Quantity, quantity
from wastewise_jobs.analysis.measures import HaulCost, HaulLog, Spend
from wastewise_jobs.analysis.model import (
    Category,
    InvoiceLine,
    JsonObject,
    PropertyFacts,
    Rows,
    rows_of,
)

STRONGLY_RECOMMEND = "strongly_recommend"
RECOMMEND = "recommend"
CONSIDER = "consider"
DO_NOT_RECOMMEND = "do_not_recommend"

MONITORING_BELOW_TONS = Decimal("6.0")
MONITORING_A_MONTH = Decimal(200)
INSTALLATION = Decimal(300)
FEWEST_HAULS = 3

CONTAMINATION_SERVICE_A_MONTH = Decimal(150)
BULK_SERVICE_A_MONTH = Decimal(200)
BULK_ABOVE_A_MONTH = Decimal(500)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One measure with its calculation. The last step is the net savings a year.

    `payback_months` is None where there is nothing to pay back or nothing saved.
    """

    code: str
    title: str
    verdict: str
    reason: str
    inputs: tuple[Quantity, ...]
    steps: tuple[Quantity, ...]
    annual_savings: Decimal
    payback_months: Decimal | None
    rows: tuple[Rows, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_recommended(self) -> bool:
        """Whether its savings count: `consider` does not."""
        return self.verdict in {STRONGLY_RECOMMEND, RECOMMEND}

    def to_json(self) -> JsonObject:
        """The recommendation as a JSON object."""
        payback = self.payback_months
        return {
            "code": self.code,
            "title": self.title,
            "verdict": self.verdict,
            "reason": self.reason,
            "annualSavings": amount(self.annual_savings),
            "annualSavingsExact": str(self.annual_savings),
            "paybackMonths": None if payback is None else amount(payback),
            "paybackMonthsExact": None if payback is None else str(payback),
            "inputs": [entry.to_json() for entry in self.inputs],
            "steps": [entry.to_json() for entry in self.steps],
            "rows": [rows.to_json() for rows in self.rows],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Recommendation":
        payback = stored["paybackMonthsExact"]
        return cls(
            code=stored["code"],
            title=stored["title"],
            verdict=stored["verdict"],
            reason=stored["reason"],
            inputs=tuple(Quantity.from_json(entry) for entry in stored["inputs"]),
            steps=tuple(Quantity.from_json(entry) for entry in stored["steps"]),
            annual_savings=Decimal(stored["annualSavingsExact"]),
            payback_months=None if payback is None else Decimal(payback),
            rows=tuple(Rows.from_json(rows) for rows in stored["rows"]),
            notes=tuple(stored["notes"]),
        )


@dataclass(frozen=True, slots=True)
class Omission:
    """A recommendation that is not made, and why."""

    code: str
    title: str
    reason: str

    def to_json(self) -> JsonObject:
        """The omission as a JSON object."""
        return {"code": self.code, "title": self.title, "reason": self.reason}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Omission":
        return cls(stored["code"], stored["title"], stored["reason"])


Assessment = Recommendation | Omission

TITLES = {
    "compactor_monitoring": "Compactor monitoring",
    "contamination_reduction": "Contamination reduction",
    "bulk_subscription": "Bulk subscription",
}


def recommend(
    facts: PropertyFacts, spend: Spend | None, log: HaulLog | None, yards: Figure | None
) -> list[Assessment]:
    """Every recommendation, made or left out; `yards` is the figure yards per door."""
    if yards is not None and yards.value < LEASE_UP_BELOW:
        reason = lease_up_reason(yards) if yards.band else implausible_reason(yards)
        return [Omission(code, title, reason) for code, title in TITLES.items()]
    assessments = [
        monitor_compactor(facts, log, spend),
        reduce_contamination(spend),
        subscribe_bulk(spend),
    ]
    order = (STRONGLY_RECOMMEND, RECOMMEND, CONSIDER, DO_NOT_RECOMMEND)
    made = [entry for entry in assessments if isinstance(entry, Recommendation)]
    made.sort(key=lambda entry: (order.index(entry.verdict), -entry.annual_savings))
    return [*made, *(entry for entry in assessments if isinstance(entry, Omission))]


def lease_up_reason(yards: Figure) -> str:
    """Why no recommendation is made."""
    under = (1 - Fraction(yards.value) / Fraction(YARDS_PER_DOOR_BENCHMARK)) * 100
    return (
        f"Yards per door are {number(yards.value)}, {number(under, 1)}% under the benchmark of "
        f"{YARDS_PER_DOOR_BENCHMARK} (the limit is 40%): the building is not full yet, so no "
        "recommendation is made."
    )


def implausible_reason(figure: Figure) -> str:
    """Why nothing is recommended by a figure that cannot be trusted."""
    return f"{figure.result.label} is {figure.result.text}, which cannot be trusted."


def monitor_compactor(facts: PropertyFacts, log: HaulLog | None, spend: Spend | None) -> Assessment:
    """A fullness sensor that calls the truck when the compactor is full."""
    code = "compactor_monitoring"
    missing = _why_no_monitoring(facts, log)
    if missing or log is None or log.annual_hauls is None or log.annual_tons is None:
        return Omission(code, TITLES[code], missing)
    cost = log.cost_per_haul(spend)
    needed = log.annual_tons / Fraction(TARGET_TONS_PER_HAUL)
    gross = (log.annual_hauls - needed) * cost.per_haul
    service = MONITORING_A_MONTH * 12
    net = gross - Fraction(service)
    payback = Fraction(INSTALLATION) / (net / 12) if net > 0 else None
    verdict = _monitoring_verdict(payback)
    return Recommendation(
        code=code,
        title=TITLES[code],
        verdict=verdict,
        reason=_monitoring_reason(log, net, payback),
        inputs=_monitoring_inputs(log, cost),
        steps=(
            quantity("annual_hauls", "Hauls a year now", log.annual_hauls, "hauls_per_year",
                     "hauls × 365 / days covered"),
            quantity("annual_tons", "Tons a year", log.annual_tons, "tons_per_year",
                     "tons × 365 / days covered"),
            quantity("needed_hauls", "Hauls a year needed", needed, "hauls_per_year",
                     "tons a year / 8.5"),
            quantity("gross_savings", "Hauling saved", gross, "usd_per_year",
                     "(hauls now − hauls needed) × cost per haul"),
            quantity("service_cost", "Monitoring", service, "usd_per_year", "$200 × 12"),
            quantity("net_savings", "Net savings", net, "usd_per_year",
                     "hauling saved − monitoring"),
        ),
        annual_savings=quantity("", "", net, "usd").value,
        payback_months=None if payback is None else quantity("", "", payback, "months").value,
        rows=(*log.rows, *rows_of(line.place for line in cost.lines)),
        notes=_monitoring_notes(cost),
    )  # fmt: skip


def _why_no_monitoring(  # noqa: PLR0911  # one reason a line
    facts: PropertyFacts, log: HaulLog | None
) -> str:
    if facts.equipment_type is None:
        return "The equipment type is not known."
    if facts.equipment_type == "DUMPSTER":
        return "The property has no compactor."
    if log is None:
        return "There is no haul log."
    if log.count < FEWEST_HAULS:
        return f"The log has {log.count} hauls; at least {FEWEST_HAULS} are needed."
    if log.days_covered is None:
        return "All hauls are on one day: nothing says how often the compactor is hauled."
    if log.tons_per_haul >= Fraction(MONITORING_BELOW_TONS):
        return f"The mean of {number(log.tons_per_haul)} tons per haul is not under 6.0."
    longest = max(log.intervals)
    if longest > LONGEST_GAP_DAYS:
        return f"The longest gap between pickups is {longest} days, over the {LONGEST_GAP_DAYS}."
    return ""


def _monitoring_inputs(log: HaulLog, cost: HaulCost) -> tuple[Quantity, ...]:
    note = "assumed: no hauling charge was found for the period of the haul log"
    given = () if cost.is_assumed else (
        quantity("hauling_charges", "Hauling charges over the same period", cost.charges, "usd",
                 "hauling lines whose period starts within the covered days"),
        quantity("charged_hauls", "Hauls in the periods of those lines", cost.hauls, "hauls"),
    )  # fmt: skip
    return (
        quantity("hauls", "Hauls in the log", log.count, "hauls"),
        quantity("total_tons", "Total weight", log.tons, "tons"),
        quantity("days_covered", "Days covered", log.days_covered or 0, "days",
                 "first to last haul plus the mean interval"),
        quantity("mean_tons", "Mean tons per haul", log.tons_per_haul, "tons_per_haul",
                 "tons / hauls", "condition: under 6.0"),
        quantity("longest_gap", "Longest gap between pickups", max(log.intervals), "days",
                 "", f"condition: at most {LONGEST_GAP_DAYS}"),
        *given,
        quantity("cost_per_haul", "Cost per haul", cost.per_haul, "usd_per_haul",
                 "" if cost.is_assumed else "hauling charges / hauls in their periods",
                 note if cost.is_assumed else ""),
        quantity("target", "Target weight", TARGET_TONS_PER_HAUL, "tons_per_haul"),
        quantity("monitoring", "Monitoring", MONITORING_A_MONTH, "usd_per_month"),
        quantity("installation", "Installation, once", INSTALLATION, "usd"),
    )  # fmt: skip


def _monitoring_verdict(payback: Fraction | None) -> str:
    if payback is None:
        return DO_NOT_RECOMMEND
    for months, verdict in ((6, STRONGLY_RECOMMEND), (12, RECOMMEND), (24, CONSIDER)):
        if payback <= months:
            return verdict
    return DO_NOT_RECOMMEND


def _monitoring_reason(log: HaulLog, net: Fraction, payback: Fraction | None) -> str:
    mean = f"The compactor is hauled at {number(log.tons_per_haul)} tons on average"
    if payback is None:
        return f"{mean}, but fewer hauls would save less than the monitoring costs."
    return (
        f"{mean}; hauling it when full (8.5 tons) saves {money(net)} a year net and pays "
        f"back the installation in {number(payback, 1)} months."
    )


def _monitoring_notes(cost: HaulCost) -> tuple[str, ...]:
    notes: list[str] = []
    if cost.is_assumed:
        notes.append(
            "The cost per haul of $850 is an assumption: no hauling charge falls into the period "
            "of the haul log."
        )
    others = [line for line in cost.lines if _OTHER_SERVICE.search(_words(line))]
    if others:
        charges = sum((line.amount for line in others), Decimal(0))
        notes.append(
            f"{money(charges)} of the hauling charges name dumpsters, carts or recycling: if they "
            "are not for the compactor, the cost per haul is lower and so are the savings."
        )
    return tuple(notes)


_OTHER_SERVICE = re.compile(r"recycl|dumpster|front[- ]?load|\bcarts?\b|\bvalet\b", re.IGNORECASE)


def _words(line: InvoiceLine) -> str:
    return f"{line.service_type} {line.description}"


def reduce_contamination(spend: Spend | None) -> Assessment:
    """Training and checks that avoid contamination charges."""
    code = "contamination_reduction"
    if spend is None:
        return Omission(code, TITLES[code], "There are no invoices.")
    lines = spend.of(Category.CONTAMINATION)
    charges = sum((line.amount for line in lines), Decimal(0))
    if spend.total <= 0:
        return Omission(code, TITLES[code], "The total spend is not positive.")
    share = Fraction(charges) / Fraction(spend.total) * 100
    if share <= 3:  # noqa: PLR2004  # the threshold in percent
        reason = f"Contamination charges are {number(share, 1)}% of spend, not over 3%."
        return Omission(code, TITLES[code], reason)
    over_five = share > 5  # noqa: PLR2004  # the second threshold in percent
    avoidable = 70 if over_five else 50
    annual = Fraction(charges) / spend.months * 12
    saved = annual * avoidable / 100
    service = CONTAMINATION_SERVICE_A_MONTH * 12
    net = saved - Fraction(service)
    verdict = DO_NOT_RECOMMEND
    if net > 0:
        verdict = STRONGLY_RECOMMEND if over_five else RECOMMEND
    outcome = f"saves {money(net)} a year net" if net > 0 else "would cost more than it saves"
    return Recommendation(
        code=code,
        title=TITLES[code],
        verdict=verdict,
        reason=f"Contamination charges are {number(share, 1)}% of spend; "
        f"avoiding {avoidable}% of them {outcome}.",
        inputs=(
            quantity("contamination_charges", "Contamination charges", charges, "usd"),
            quantity("total_spend", "Total spend", spend.total, "usd"),
            quantity("months", "Months covered", spend.months, "months"),
            quantity("share", "Share of spend", share, "percent",
                     "contamination charges / total spend × 100", "condition: over 3%"),
            quantity("avoidable", "Can be avoided", avoidable, "percent", "",
                     "70% when the share is over 5%, else 50%"),
            quantity("service", "Service", CONTAMINATION_SERVICE_A_MONTH, "usd_per_month"),
        ),
        steps=(
            quantity("annual_charges", "Charges a year", annual, "usd_per_year",
                     "contamination charges / months × 12"),
            quantity("gross_savings", "Charges avoided", saved, "usd_per_year",
                     f"charges a year × {avoidable}%"),
            quantity("service_cost", "Service", service, "usd_per_year", "$150 × 12"),
            quantity("net_savings", "Net savings", net, "usd_per_year",
                     "charges avoided − service"),
        ),
        annual_savings=quantity("", "", net, "usd").value,
        payback_months=None,
        rows=rows_of(line.place for line in lines),
    )  # fmt: skip


def subscribe_bulk(spend: Spend | None) -> Assessment:
    """A flat monthly price in place of a charge for each bulk pickup."""
    code = "bulk_subscription"
    if spend is None:
        return Omission(code, TITLES[code], "There are no invoices.")
    lines = spend.of(Category.BULK)
    charges = sum((line.amount for line in lines), Decimal(0))
    average = Fraction(charges) / spend.months
    if average <= Fraction(BULK_ABOVE_A_MONTH):
        reason = f"Bulk charges average {money(average)} a month, not over $500."
        return Omission(code, TITLES[code], reason)
    saved = average - Fraction(BULK_SERVICE_A_MONTH)
    net = saved * 12
    return Recommendation(
        code=code,
        title=TITLES[code],
        verdict=STRONGLY_RECOMMEND,
        reason=f"Bulk charges average {money(average)} a month; a subscription at $200 "
        f"saves {money(net)} a year.",
        inputs=(
            quantity("bulk_charges", "Bulk charges", charges, "usd"),
            quantity("months", "Months covered", spend.months, "months"),
            quantity("subscription", "Subscription", BULK_SERVICE_A_MONTH, "usd_per_month"),
        ),
        steps=(
            quantity("average", "Average a month", average, "usd_per_month",
                     "bulk charges / months", "condition: over $500"),
            quantity("monthly_savings", "Saved a month", saved, "usd_per_month",
                     "average − subscription"),
            quantity("net_savings", "Net savings", net, "usd_per_year", "saved a month × 12"),
        ),
        annual_savings=quantity("", "", net, "usd").value,
        payback_months=None,
        rows=rows_of(line.place for line in lines),
    )  # fmt: skip
