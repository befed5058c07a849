from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.analysis.factories import extraction_of, hauls_over, make_haul, make_line
from wastewise_jobs.analysis import Analysis, Category, PropertyFacts, analyse
from wastewise_jobs.analysis.recommendations import Recommendation


def facts(**overrides: Any) -> PropertyFacts:
    return PropertyFacts("P", **{"units": 200, "equipment_type": "COMPACTOR", **overrides})


def made(analysis: Analysis, code: str) -> Recommendation:
    return next(entry for entry in analysis.recommendations if entry.code == code)


def why_not(analysis: Analysis, code: str) -> str:
    return next(entry.reason for entry in analysis.omissions if entry.code == code)


def step(entry: Recommendation, code: str) -> Decimal:
    return next(q.value for q in (*entry.inputs, *entry.steps) if q.code == code)


def monitoring(*, hauls: int, span: int, tons: str, cost: str | None = None) -> Analysis:
    lines = []
    if cost is not None:
        lines = [make_line(str(Decimal(cost) * hauls), "2024-01-01", "2025-12-31",
                           category=Category.HAULING)]  # fmt: skip
    return analyse(facts(units=20), extraction_of(lines, hauls_over(hauls, span, tons)))


def test_eighty_hauls_of_5_2_tons_in_a_year_save_23959_dollars() -> None:
    entry = made(monitoring(hauls=80, span=361, tons="5.2"), "compactor_monitoring")
    assert round(step(entry, "annual_hauls"), 1) == Decimal("79.9")
    assert round(step(entry, "needed_hauls"), 1) == Decimal("48.9")
    assert round(entry.annual_savings) == 23959
    assert entry.verdict == "strongly_recommend"
    assert entry.payback_months is not None
    assert round(entry.payback_months, 2) == Decimal("0.15")
    assert any("$850 is an assumption" in note for note in entry.notes)


def test_three_hauls_of_5_9_tons_at_200_dollars_are_not_worth_it() -> None:
    entry = made(monitoring(hauls=3, span=28, tons="5.9", cost="200"), "compactor_monitoring")
    assert round(step(entry, "annual_hauls"), 2) == Decimal("26.07")
    assert round(step(entry, "needed_hauls"), 2) == Decimal("18.10")
    assert round(entry.annual_savings) == -805
    assert entry.verdict == "do_not_recommend"
    assert entry.payback_months is None
    assert entry.notes == ()


@pytest.mark.parametrize(
    ("months", "verdict"),
    [
        ("6", "strongly_recommend"),
        ("6.0001", "recommend"),
        ("12", "recommend"),
        ("12.0001", "consider"),
        ("24", "consider"),
        ("24.0001", "do_not_recommend"),
    ],
)
def test_payback_decides_up_to_6_12_and_24_months(months: str, verdict: str) -> None:
    # 73 hauls of 4.25 t in 365 days: 73 a year now, 36.5 needed, 36.5 saved.
    charges = 2 * (2400 + 3600 / Decimal(months))
    lines = [make_line(str(charges), "2024-01-01", "2025-12-31", category=Category.HAULING)]
    analysis = analyse(facts(units=20), extraction_of(lines, hauls_over(73, 360, "4.25")))
    entry = made(analysis, "compactor_monitoring")
    assert entry.payback_months == pytest.approx(Decimal(months), abs=Decimal("1e-20"))
    assert entry.verdict == verdict


@pytest.mark.parametrize(
    ("property_facts", "hauls", "reason"),
    [
        ({"equipment_type": "DUMPSTER"}, hauls_over(80, 361), "no compactor"),
        ({"equipment_type": None}, [make_haul(date(2024, 1, 1), container="")] * 3, "not known"),
        ({}, [], "no haul log"),
        ({}, hauls_over(2, 7), "at least 3"),
        ({}, [make_haul(date(2024, 1, 1))] * 4, "one day"),
        ({}, hauls_over(80, 361, "6.0"), "not under 6.0"),
        ({}, [*hauls_over(80, 361), make_haul(date(2025, 1, 11))], "15 days"),
    ],
)
def test_monitoring_needs_all_its_conditions(
    property_facts: dict[str, Any], hauls: list[Any], reason: str
) -> None:
    analysis = analyse(facts(**{"units": 20} | property_facts),
                       extraction_of([make_line("9")], hauls))  # fmt: skip
    assert reason in why_not(analysis, "compactor_monitoring")


def test_a_gap_of_14_days_and_a_mean_just_under_6_still_qualify() -> None:
    hauls = [*hauls_over(80, 361, "5.9999"), make_haul(date(2025, 1, 10), "5.9999")]
    analysis = analyse(facts(units=20), extraction_of(hauls=hauls))
    assert made(analysis, "compactor_monitoring").verdict == "strongly_recommend"


def test_hauling_charges_of_other_services_are_pointed_out() -> None:
    line = make_line("9000", "2024-01-01", "2024-12-31", category=Category.HAULING,
                     description="Recycling pickup")  # fmt: skip
    entry = made(analyse(facts(units=20), extraction_of([line], hauls_over(80, 361))),
                 "compactor_monitoring")  # fmt: skip
    assert "$9,000.00" in entry.notes[0]


def spend_with(category: Category, charges: str, total: str, months: int = 12) -> Analysis:
    end = date(2024, months, 28 if months == 2 else 30 if months in {4, 6, 9, 11} else 31)
    rest = str(Decimal(total) - Decimal(charges))
    lines = [
        make_line(charges, "2024-01-01", end.isoformat(), category=category),
        make_line(rest, "2024-01-01", end.isoformat()),
    ]
    return analyse(facts(), extraction_of(lines))


@pytest.mark.parametrize(
    ("charges", "verdict", "savings"),
    [
        ("5000.01", "strongly_recommend", Decimal("1700.007")),
        ("5000.00", "recommend", Decimal(700)),
        ("3600.01", "recommend", Decimal("0.005")),
        ("3600.00", "do_not_recommend", Decimal(0)),
        ("3000.01", "do_not_recommend", Decimal("-299.995")),
    ],
)
def test_contamination_avoids_70_percent_over_5_and_50_percent_over_3(
    charges: str, verdict: str, savings: Decimal
) -> None:
    analysis = spend_with(Category.CONTAMINATION, charges, "100000")
    entry = made(analysis, "contamination_reduction")
    assert (entry.verdict, entry.annual_savings) == (verdict, savings)
    assert entry.payback_months is None


def test_contamination_of_exactly_3_percent_is_left_alone() -> None:
    analysis = spend_with(Category.CONTAMINATION, "3000", "100000")
    assert "3.0%" in why_not(analysis, "contamination_reduction")


def test_contamination_over_5_percent_of_little_money_is_not_recommended() -> None:
    entry = made(spend_with(Category.CONTAMINATION, "60", "1000"), "contamination_reduction")
    assert (entry.verdict, entry.annual_savings) == ("do_not_recommend", Decimal(-1758))


def test_contamination_is_annualised_by_the_months_covered() -> None:
    entry = made(spend_with(Category.CONTAMINATION, "3000", "30000", 6), "contamination_reduction")
    assert step(entry, "annual_charges") == 6000
    assert entry.annual_savings == 2400


def test_contamination_of_no_positive_spend_is_left_alone() -> None:
    analysis = spend_with(Category.CONTAMINATION, "100", "0")
    assert "not positive" in why_not(analysis, "contamination_reduction")


def test_bulk_over_500_a_month_saves_all_but_200() -> None:
    entry = made(spend_with(Category.BULK, "6000.12", "60000"), "bulk_subscription")
    assert entry.verdict == "strongly_recommend"
    assert entry.annual_savings == Decimal("3600.12")
    assert step(entry, "monthly_savings") == Decimal("300.01")


def test_bulk_of_exactly_500_a_month_is_left_alone() -> None:
    analysis = spend_with(Category.BULK, "6000", "60000")
    assert "not over $500" in why_not(analysis, "bulk_subscription")


def test_while_leasing_up_nothing_is_recommended_and_the_result_says_why() -> None:
    lines = [make_line("60000", "2024-01-01", "2024-12-31", category=Category.BULK)]
    analysis = analyse(facts(units=400), extraction_of(lines, hauls_over(80, 361)))
    assert analysis.recommendations == ()
    assert {entry.code for entry in analysis.omissions} == {
        "compactor_monitoring", "contamination_reduction", "bulk_subscription"}  # fmt: skip
    assert "not full yet" in analysis.lease_up
    assert "43.0% under" in analysis.lease_up
    assert analysis.annual_savings == 0
    stored = analysis.to_json()
    assert stored["leaseUp"] == {"detected": True, "reason": analysis.lease_up}
    assert stored["recommendations"] == []


def test_40_percent_under_is_not_yet_leasing_up() -> None:
    at_limit = facts(equipment_type="DUMPSTER", units=433, containers=11, container_yards=12,
                     pickups_per_week=1)  # fmt: skip
    lines = [make_line("60000", "2024-01-01", "2024-12-31", category=Category.BULK)]
    analysis = analyse(at_limit, extraction_of(lines))
    yards = analysis.figure("yards_per_door")
    assert yards is not None
    assert yards.value == Decimal("1.32")
    assert analysis.lease_up == ""
    assert len(analysis.recommendations) == 1


def test_only_what_is_recommended_counts_as_savings() -> None:
    bulk = make_line("12000", "2024-01-01", "2024-12-31", category=Category.BULK)
    # 26.07 hauls a year fall to 18.10: at $340 each that is $311 a year, paid back in a year.
    hauling = make_line("1020", "2024-01-01", "2024-12-31", category=Category.HAULING)
    hauls = hauls_over(3, 28, "5.9")
    analysis = analyse(facts(units=50), extraction_of([bulk, hauling], hauls))
    assert [(e.code, e.verdict) for e in analysis.recommendations] == [
        ("bulk_subscription", "strongly_recommend"),
        ("compactor_monitoring", "recommend"),
    ]
    assert analysis.annual_savings == sum(e.annual_savings for e in analysis.recommendations)
    cheaper = make_line("960", "2024-01-01", "2024-12-31", category=Category.HAULING)
    analysis = analyse(facts(units=50), extraction_of([bulk, cheaper], hauls))
    assert [entry.verdict for entry in analysis.recommendations] == [
        "strongly_recommend",
        "consider",
    ]
    assert analysis.annual_savings == 9600
    assert round(analysis.savings_to_consider) == 152
