from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.unit.analysis.factories import extraction_of, hauls_over, make_haul, make_line
from wastewise_jobs.analysis import (
    Analysis,
    Category,
    InvoiceLine,
    PropertyFacts,
    analyse,
    benchmarks,
)
from wastewise_jobs.analysis.figures import Figure
from wastewise_jobs.analysis.measures import HaulLog, Spend


def facts(**overrides: Any) -> PropertyFacts:
    return PropertyFacts("P", **{"units": 200, "equipment_type": "COMPACTOR", **overrides})


def figure(analysis: Analysis, code: str) -> Figure:
    found = analysis.figure(code)
    assert found is not None
    return found


def codes(analysis: Analysis) -> set[str]:
    return {warning.code for warning in analysis.warnings}


def test_monthly_cost_is_spend_over_months_and_not_over_lines() -> None:
    lines = [make_line("9000"), make_line("3000"), make_line("-600"),
             make_line("600", "2024-02-01", "2024-02-29")]  # fmt: skip
    analysis = analyse(facts(), extraction_of(lines))
    assert figure(analysis, "total_spend").value == 12000
    assert figure(analysis, "months").value == 2
    assert figure(analysis, "monthly_cost").value == 6000
    assert figure(analysis, "cost_per_door").value == 30


def test_a_line_without_a_period_covers_its_invoice_month() -> None:
    lines = [make_line("310", None, None, invoice_date=date(2024, 2, 15))]
    assert Spend(lines).months == 1
    assert Spend([*lines, make_line("0")]).months == 2


def test_nothing_is_rounded_before_it_is_shown() -> None:
    lines = [make_line("100", "2024-01-01", "2024-01-15")]
    assert Spend(lines).monthly == Fraction(100) / Fraction(15, 31)
    door = figure(analyse(facts(units=3), extraction_of([make_line("0.10")])), "cost_per_door")
    assert door.value == Decimal("0.03333333333333333333333333333333333")
    assert door.to_json()["value"] == 0.03


@pytest.mark.parametrize(
    ("value", "shown"), [("0.005", 0.01), ("-0.005", -0.01), ("2.675", 2.68), ("1.0049", 1.0)]
)
def test_cents_are_rounded_half_up(value: str, shown: float) -> None:
    spend = figure(analyse(facts(), extraction_of([make_line(value)])), "total_spend")
    assert spend.to_json()["value"] == shown
    assert spend.to_json()["exact"] == value


def test_compactor_yards_per_door_come_from_the_annual_tons() -> None:
    analysis = analyse(facts(units=228), extraction_of(hauls=hauls_over(80, 361)))
    days = Fraction(361 * 80, 79)
    expected = Fraction("416") * 365 / days / 12 * Fraction("14.49") / 228
    assert abs(Fraction(figure(analysis, "yards_per_door").value) - expected) < Fraction(1, 10**30)
    assert figure(analysis, "yards_per_door").result.text == "2.20 yd³ per door"


def test_dumpster_yards_per_door_come_from_the_containers() -> None:
    dumpsters = facts(
        equipment_type="DUMPSTER", containers=5, container_yards=8, pickups_per_week=3
    )
    analysis = analyse(dumpsters, extraction_of([make_line("6000")]))
    assert figure(analysis, "yards_per_door").value == Decimal("2.598")


def test_mixed_equipment_adds_both() -> None:
    mixed = facts(equipment_type="MIXED", containers=2, container_yards=8, pickups_per_week=1)
    hauls = hauls_over(80, 361)
    compactor = figure(analyse(facts(), extraction_of(hauls=hauls)), "yards_per_door").value
    both = figure(analyse(mixed, extraction_of(hauls=hauls)), "yards_per_door").value
    assert both - compactor == pytest.approx(Decimal("0.3464"), abs=Decimal("1e-30"))


@pytest.mark.parametrize("missing", ["containers", "container_yards", "pickups_per_week"])
@pytest.mark.parametrize("equipment", ["DUMPSTER", "MIXED"])
def test_yards_are_not_guessed_from_half_the_facts(equipment: str, missing: str) -> None:
    known = {"containers": 2, "container_yards": 8, "pickups_per_week": 1} | {missing: None}
    analysis = analyse(
        facts(equipment_type=equipment, **known),
        extraction_of([make_line("6000")], hauls_over(80, 361)),
    )
    assert analysis.figure("yards_per_door") is None
    assert "no_dumpster_facts" in codes(analysis)


def test_tons_per_haul_and_utilisation() -> None:
    analysis = analyse(facts(), extraction_of(hauls=hauls_over(80, 361, "5.1")))
    assert figure(analysis, "tons_per_haul").value == Decimal("5.1")
    assert figure(analysis, "capacity_utilisation").value == 60
    assert figure(analysis, "capacity_utilisation").band == "fair"


@pytest.mark.parametrize(
    ("tons", "band"),
    [("7.65", "excellent"), ("7.649999", "good"), ("5.95", "good"), ("5.949999", "fair"),
     ("4.25", "fair"), ("4.249999", "poor")],
)  # fmt: skip
def test_utilisation_bands_begin_at_90_70_and_50(tons: str, band: str) -> None:
    # Three hauls, so that a mean rounded on the way would miss the edge.
    hauls = [make_haul(date(2024, 1, 1 + 7 * at), tons) for at in range(3)]
    analysis = analyse(facts(), extraction_of(hauls=hauls))
    assert figure(analysis, "capacity_utilisation").band == band


@pytest.mark.parametrize(
    ("kind", "value", "band"),
    [
        ("Garden-Style", "29.99", "good"),
        ("Garden-Style", "30", "typical"),
        ("Garden-Style", "35", "typical"),
        ("Garden-Style", "35.01", "high"),
        ("Mid-Rise", "40", "typical"),
        ("Mid-Rise", "40.01", "high"),
        ("High-Rise", "45", "typical"),
        ("High-Rise", "45.01", "high"),
        (None, "29", "good"),
        (None, "46", "high"),
    ],
)
def test_cost_per_door_is_held_against_its_property_type(
    kind: str | None, value: str, band: str
) -> None:
    benchmark = benchmarks.cost_per_door(kind)
    assert benchmarks.cost_band(Fraction(value), benchmark)[0] == band


@pytest.mark.parametrize(
    ("value", "band"),
    [("1.31999", "lease_up"), ("1.32", "low"), ("1.999", "low"), ("2", "normal"),
     ("2.5", "normal"), ("2.501", "high")],
)  # fmt: skip
def test_yards_bands(value: str, band: str) -> None:
    assert benchmarks.yards_band(Fraction(value))[0] == band


@pytest.mark.parametrize(
    ("value", "band"),
    [("7.99", "light"), ("8", "on_target"), ("9", "on_target"), ("9.01", "heavy")],
)
def test_tons_bands(value: str, band: str) -> None:
    assert benchmarks.tons_band(Fraction(value))[0] == band


@pytest.mark.parametrize(
    ("mean", "longest", "band"),
    [("6.9", 14, "frequent"), ("7", 14, "ideal"), ("10", 14, "ideal"), ("10.1", 14, "infrequent"),
     ("8", 15, "over_maximum")],
)  # fmt: skip
def test_pickup_bands(mean: str, longest: int, band: str) -> None:
    assert benchmarks.pickup_band(Fraction(mean), longest)[0] == band


def test_days_between_pickups_are_sorted_first() -> None:
    days = [date(2024, 1, 20), date(2024, 1, 1), date(2024, 1, 8)]
    analysis = analyse(facts(), extraction_of(hauls=[make_haul(day) for day in days]))
    between = figure(analysis, "days_between_pickups")
    assert between.value == Decimal("9.5")
    assert [entry.value for entry in between.inputs] == [7, 12]
    assert figure(analysis, "days_covered").value == Decimal("28.5")


def test_annual_figures_scale_by_days_covered() -> None:
    log = HaulLog(hauls_over(3, 28, "5.9"))
    assert log.days_covered == 42
    assert log.annual_hauls == Fraction(3 * 365, 42)
    assert log.annual_tons == Fraction("17.7") * 365 / 42


def hauling(amount: str, start: str, end: str) -> InvoiceLine:
    return make_line(amount, start, end, category=Category.HAULING)


def test_cost_per_haul_takes_the_lines_that_start_within_the_covered_days() -> None:
    log = HaulLog(hauls_over(5, 28))  # covers 35 days: 1 January to 4 February
    inside = hauling("500", "2024-01-01", "2024-01-31")
    after = hauling("900", "2024-02-05", "2024-02-29")
    before = hauling("900", "2023-12-31", "2024-01-31")
    other = make_line("900", category=Category.DISPOSAL)
    cost = log.cost_per_haul(Spend([inside, after, before, other]))
    assert (cost.per_haul, cost.hauls, cost.lines) == (Fraction(100), 5, (inside,))


def test_hauls_outside_the_periods_of_those_lines_do_not_make_hauls_cheaper() -> None:
    log = HaulLog(hauls_over(12, 77))
    cost = log.cost_per_haul(Spend([hauling("1250", "2024-01-01", "2024-01-31")]))
    assert (cost.per_haul, cost.hauls) == (Fraction(250), 5)


@pytest.mark.parametrize("amount", ["0", "-10"])
def test_cost_per_haul_is_assumed_without_positive_charges(amount: str) -> None:
    log = HaulLog(hauls_over(5, 28))
    for spend in (
        None,
        Spend([make_line("5")]),
        Spend([hauling(amount, "2024-01-01", "2024-01-31")]),
    ):
        cost = log.cost_per_haul(spend)
        assert (cost.per_haul, cost.is_assumed) == (Fraction(850), True)


def test_without_a_haul_log_there_are_the_invoice_figures_and_a_warning() -> None:
    analysis = analyse(facts(), extraction_of([make_line("6000")]))
    assert {entry.code for entry in analysis.figures} == {
        "total_spend", "months", "monthly_cost", "cost_per_door"}  # fmt: skip
    assert {"no_haul_log", "no_haul_days"} <= codes(analysis)


def test_without_invoices_there_are_the_haul_figures_and_a_warning() -> None:
    analysis = analyse(facts(), extraction_of(hauls=hauls_over(80, 361)))
    assert analysis.figure("cost_per_door") is None
    assert "no_invoices" in codes(analysis)


def test_hauls_of_one_day_give_no_annual_figure() -> None:
    analysis = analyse(facts(), extraction_of(hauls=[make_haul(date(2024, 1, 1))] * 4))
    assert analysis.figure("tons_per_haul") is not None
    assert analysis.figure("annual_tons") is None
    assert analysis.figure("yards_per_door") is None


def test_implausible_figures_are_said_so_with_their_rows() -> None:
    analysis = analyse(facts(), extraction_of([make_line("100")], hauls_over(80, 361, "1.9")))
    odd = [w for w in analysis.warnings if w.code == "implausible_figure"]
    assert [w.message.split(" is ")[0] for w in odd] == [
        "Cost per door", "Yards per door", "Tons per haul"]  # fmt: skip
    assert odd[2].rows[0].rows == "2-81"


def test_doubtful_coverage_is_said_so() -> None:
    lines = [
        make_line("1000", "2024-01-01", "2024-04-30", vendor="A"),
        make_line("1000", "2024-06-01", "2024-06-30", vendor="B"),
    ]
    analysis = analyse(facts(), extraction_of(lines))
    assert {"coverage_gap", "vendor_coverage"} <= codes(analysis)
    assert "short_period" in codes(analyse(facts(), extraction_of(lines[1:])))


def test_an_unknown_equipment_type_is_taken_from_a_log_of_compactors() -> None:
    hauls = hauls_over(80, 361)
    analysis = analyse(facts(equipment_type=None), extraction_of(hauls=hauls))
    assert analysis.facts.equipment_type == "COMPACTOR"
    assert "equipment_from_log" in codes(analysis)
    bins = [make_haul(haul.day, container="Open top") for haul in hauls]
    analysis = analyse(facts(equipment_type=None), extraction_of(hauls=bins))
    assert analysis.facts.equipment_type is None
    assert "no_equipment_type" in codes(analysis)


def test_hauls_of_another_container_are_pointed_out() -> None:
    hauls = [*hauls_over(8, 49), make_haul(date(2024, 1, 3), row=40, container="30 yd open top")]
    analysis = analyse(facts(), extraction_of(hauls=hauls))
    (warning,) = (w for w in analysis.warnings if w.code == "mixed_containers")
    assert warning.rows[0].rows == "40"


def test_every_figure_names_its_rows_inputs_and_formula() -> None:
    analysis = analyse(facts(), extraction_of([make_line("6000")], hauls_over(80, 361)))
    assert len(analysis.figures) == 13
    for entry in analysis.figures:
        assert entry.result.formula
        assert entry.rows, entry.code
