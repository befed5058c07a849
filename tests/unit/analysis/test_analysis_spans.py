from datetime import date

import pytest

from wastewise_jobs.analysis.intake.spans import may_be_days, month_in, span_of


@pytest.mark.parametrize(
    "text",
    [
        "Jan-25", "January 2025", "Jan. 2025", "Jan '25", "Jan/2025", "JAN-2025", "2025 Jan",
        "01/2025", "1/2025", "01-2025", "2025-01", "2025/01", "Jan 1 - Jan 31, 2025",
        "Jan 1 – Jan 31, 2025", "Jan 1-31, 2025", "Jan 1, 2025 to Jan 31, 2025",
        "01/01 - 01/31/2025", "1/1/25-1/31/25", "01/01/2025 thru 01/31/2025",
    ],
)  # fmt: skip
def test_a_month_is_read_in_all_its_notations(text: str) -> None:
    assert span_of(text) == (date(2025, 1, 1), date(2025, 1, 31))


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("Q1 2025", date(2025, 1, 1), date(2025, 3, 31)),
        ("2025-Q4", date(2025, 10, 1), date(2025, 12, 31)),
        ("Nov 2024 - Jan 2025", date(2024, 11, 1), date(2025, 1, 31)),
        ("Dec 16 - Jan 15, 2025", date(2024, 12, 16), date(2025, 1, 15)),
        ("12/16 - 01/15/2025", date(2024, 12, 16), date(2025, 1, 15)),
    ],
)
def test_a_period_may_be_longer_and_cross_new_year(text: str, first: date, last: date) -> None:
    assert span_of(text) == (first, last)


@pytest.mark.parametrize("text", ["Jan 25", "13/2025", "1/25", "Jan", "soon", "Jan 1 - soon, 2025"])
def test_what_may_be_a_day_or_nothing_is_no_month(text: str) -> None:
    assert month_in(text) is None
    with pytest.raises(ValueError, match="is not"):
        span_of(text)


def test_two_digits_that_are_not_of_a_few_years_may_be_days() -> None:
    assert may_be_days(["Jan-05", "Jan-12", "Jan-19"])
    assert may_be_days(["Jan-31", "Feb-28"])
    assert not may_be_days(["Dec-24", "Jan-25"])
    assert not may_be_days(["January 2025", 3.0, None])
