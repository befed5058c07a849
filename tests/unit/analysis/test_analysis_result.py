import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.analysis.factories import extraction_of, hauls_over, make_haul, make_line
from wastewise_jobs.analysis import (
    STEPS,
    Analysis,
    Category,
    Extraction,
    PropertyFacts,
    analyse,
    extract,
)
from wastewise_jobs.analysis.model import Place, ranges
from wastewise_jobs.analysis.sample import sample_files, sample_property


def stored(document: Any) -> Any:
    """The document as jsonb gives it back: objects lose their order."""
    return json.loads(json.dumps(document, sort_keys=True))


@pytest.fixture(scope="module")
def sample() -> tuple[Analysis, Extraction]:
    extraction = extract(sample_files())
    return analyse(sample_property(), extraction), extraction


def test_a_stored_analysis_is_read_back_whole(sample: tuple[Analysis, Extraction]) -> None:
    analysis, _ = sample
    again = Analysis.from_json(stored(analysis.to_json()))
    assert again == analysis
    assert again.to_json() == analysis.to_json()


def test_stored_rows_are_read_back_whole_and_in_order(sample: tuple[Analysis, Extraction]) -> None:
    _, extraction = sample
    again = Extraction.from_rows(stored(extraction.rows()), stored(extraction.to_json()))
    assert again == extraction
    rows_alone = Extraction.from_rows(stored(extraction.rows()))
    assert rows_alone.invoice_lines == extraction.invoice_lines
    assert rows_alone.hauls == extraction.hauls


def test_another_version_is_not_misread() -> None:
    with pytest.raises(ValueError, match="version 99"):
        Analysis.from_json({"version": 99})


def test_money_in_json_is_a_number_in_cents_beside_the_exact_value() -> None:
    lines = [make_line("10.005"), make_line("0.001", category=Category.BULK)]
    document = extraction_of(lines).to_json()
    assert (document["totalSpend"], document["totalSpendExact"]) == (10.01, "10.006")
    assert [(e["category"], e["total"], e["exact"]) for e in document["byCategory"]] == [
        ("bulk", 0.0, "0.001"),
        ("other", 10.01, "10.005"),
    ]


def test_totals_by_month_and_category_add_up_to_the_spend(
    sample: tuple[Analysis, Extraction],
) -> None:
    analysis, extraction = sample
    spend = sum((line.amount for line in extraction.invoice_lines), Decimal(0))
    assert sum(total.total for total in extraction.by_category()) == spend
    assert sum(total.total for total in extraction.by_month()) == spend
    assert sum(month.spend for month in analysis.months) == spend
    assert sum(t for month in analysis.months for _, t in month.categories) == spend
    assert sum(month.tons for month in analysis.months) == sum(h.tons for h in extraction.hauls)


def test_a_charge_is_shown_in_the_month_in_which_its_period_starts() -> None:
    quarter = make_line("300", "2024-01-15", "2024-03-31")
    analysis = analyse(PropertyFacts("P", 20), extraction_of([quarter]))
    assert [(m.month, m.days_covered, m.spend) for m in analysis.months] == [
        ("2024-01", 17, Decimal(300)),
        ("2024-02", 29, Decimal(0)),
        ("2024-03", 31, Decimal(0)),
    ]


def test_every_sum_says_which_rows_it_came_from() -> None:
    lines = [
        make_line("1", place=Place("a.csv", None, 2), category=Category.BULK),
        make_line("2", place=Place("a.csv", None, 3), category=Category.HAULING),
        make_line("3", "2024-02-01", "2024-02-29", place=Place("a.csv", None, 4),
                  category=Category.BULK),
    ]  # fmt: skip
    hauls = [make_haul(date(2024, 1, day), row=day) for day in (5, 6, 19)]
    document = analyse(PropertyFacts("P", 20), extraction_of(lines, hauls)).to_json()
    charged, hauled = {"file": "a.csv", "sheet": None}, {"file": "hauls.csv", "sheet": None}
    assert {entry["category"]: entry["rows"] for entry in document["categories"]} == {
        "bulk": [{**charged, "rows": "2, 4"}],
        "hauling": [{**charged, "rows": "3"}],
    }
    assert [entry["rows"] for entry in document["months"]] == [
        [{**charged, "rows": "2-3"}, {**hauled, "rows": "5-6, 19"}],
        [{**charged, "rows": "4"}],
    ]


def test_the_steps_are_announced_in_order() -> None:
    seen: list[str] = []
    analyse(PropertyFacts("P", 20), extraction_of([make_line()]), on_step=seen.append)
    assert tuple(seen) == STEPS


def test_what_a_step_raises_ends_the_work() -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyse(PropertyFacts("P", 20), extraction_of([make_line()]), on_step=stop)


def test_row_ranges_are_short() -> None:
    assert ranges([5, 2, 3, 4, 9, 9, 7]) == "2-5, 7, 9"
    assert ranges([]) == ""
    assert ranges(range(2, 40_000, 2)).endswith(", …")


def _scattered(count: int) -> Extraction:
    """Lines whose category and month change from row to row, and a daily haul."""
    categories = list(Category)
    lines = [
        make_line(
            "12.34",
            start=f"{2021 + at % 36 // 12}-{at % 12 + 1:02}-01",
            end=f"{2021 + at % 36 // 12}-{at % 12 + 1:02}-28",
            place=Place("invoices.csv", None, at + 2),
            category=categories[at % 8],
        )
        for at in range(count)
    ]
    first = date(2021, 1, 1)
    return extraction_of(lines, [make_haul(first + timedelta(days=2 * a)) for a in range(500)])


@pytest.mark.parametrize(("lines", "most"), [(5_000, 400_000), (60_000, 700_000)])
def test_results_stay_well_below_a_mebibyte(lines: int, most: int) -> None:
    extraction = _scattered(lines)
    analysis = analyse(PropertyFacts("P", 400, equipment_type="COMPACTOR"), extraction)
    assert len(json.dumps(analysis.to_json())) < most
    assert len(json.dumps(extraction.to_json())) < most


def test_a_result_of_five_thousand_lines_names_every_row() -> None:
    document = _scattered(5_000).to_json()
    assert "…" not in json.dumps(document, ensure_ascii=False)


def test_the_summary_says_what_a_list_of_jobs_shows(sample: tuple[Analysis, Extraction]) -> None:
    summary = sample[0].to_json()["summary"]
    assert summary["headline"] == "$14,084 a year can be saved with 3 measures."
    assert summary["annualSavings"] == 14084.41
    assert summary["recommended"] == [
        "compactor_monitoring",
        "bulk_subscription",
        "contamination_reduction",
    ]
    assert summary["months"] == 12
    assert (summary["firstMonth"], summary["lastMonth"]) == ("2025-01", "2025-12")


def test_the_headline_speaks_when_nothing_can_be_saved() -> None:
    analysis = analyse(PropertyFacts("P", 200), extraction_of([make_line("6000")]))
    assert analysis.headline == "No measure would save money at present."
    worth = analyse(
        PropertyFacts("P", 50, equipment_type="COMPACTOR"),
        extraction_of(
            [make_line("960", "2024-01-01", "2024-12-31", category=Category.HAULING)],
            hauls_over(3, 28, "5.9"),
        ),
    )
    assert worth.headline == "$152 a year could be saved: worth considering."
