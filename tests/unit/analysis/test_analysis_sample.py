from decimal import Decimal

import pytest

from wastewise_jobs.analysis import Analysis, analyse, extract, recognise
from wastewise_jobs.analysis.sample import sample_files, sample_property


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyse(sample_property(), extract(sample_files()))


def test_the_sample_is_small_and_recognised_without_being_told() -> None:
    files = sample_files()
    assert sum(len(file.content) for file in files) < 60_000
    assert [recognise(file.name, file.content) for file in files] == [f.file_type for f in files]


def test_the_sample_has_a_year_of_two_vendors_and_80_hauls() -> None:
    extraction = extract(sample_files())
    assert {line.vendor for line in extraction.invoice_lines} == {
        "Lone Star Waste Services",
        "GreenCycle Recycling LLC",
    }
    assert len(extraction.invoice_lines) == 135
    assert len(extraction.hauls) == 80
    # Adds up to the totals that the vendors print on their own exports.
    assert sum(line.amount for line in extraction.invoice_lines) == Decimal("87435.99")
    assert sum(haul.tons for haul in extraction.hauls) == Decimal("416.07")


def test_the_untidiness_of_the_sample_is_said_so(analysis: Analysis) -> None:
    assert {warning.code for warning in analysis.warnings} == {
        "total_rows_skipped",
        "payment_rows_skipped",
        "note_rows_skipped",
        "sheet_not_read",
        "unusual_tons",
    }


def test_the_sample_recommends_all_three_measures(analysis: Analysis) -> None:
    assert [(entry.code, entry.verdict) for entry in analysis.recommendations] == [
        ("compactor_monitoring", "strongly_recommend"),
        ("bulk_subscription", "strongly_recommend"),
        ("contamination_reduction", "strongly_recommend"),
    ]
    assert analysis.recommendations[0].payback_months is not None
    assert analysis.figure("months") is not None
    assert analysis.lease_up == ""
