from calendar import monthrange
from datetime import date, timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from wastewise_jobs.analysis import periods
from wastewise_jobs.analysis.periods import Span

JANUARY = (date(2024, 1, 1), date(2024, 1, 31))
FEBRUARY = (date(2024, 2, 1), date(2024, 2, 29))


def test_a_year_of_monthly_periods_is_twelve_months() -> None:
    year = [(date(2024, m, 1), date(2024, m, monthrange(2024, m)[1])) for m in range(1, 13)]
    assert periods.months_in(year) == 12


def test_overlapping_periods_count_once() -> None:
    assert periods.months_in([JANUARY, JANUARY, FEBRUARY, JANUARY]) == 2


def test_part_of_a_month_counts_by_its_days_with_both_ends() -> None:
    mid = (date(2024, 1, 16), date(2024, 2, 15))
    assert periods.months_in([mid]) == Fraction(16, 31) + Fraction(15, 29)


def test_a_single_day_counts() -> None:
    assert periods.months_in([(date(2024, 2, 29), date(2024, 2, 29))]) == Fraction(1, 29)


def test_gaps_between_periods_do_not_count_and_are_known() -> None:
    march = (date(2024, 3, 1), date(2024, 3, 31))
    assert periods.months_in([JANUARY, march]) == 2
    assert periods.gaps([JANUARY, march]) == [FEBRUARY]


def test_days_covered_is_first_to_last_haul_plus_the_mean_interval() -> None:
    days = [date(2024, 1, 1), date(2024, 1, 29), date(2024, 1, 15)]
    assert periods.days_covered(days) == 42
    assert periods.intervals(days) == [14, 14]


def test_days_covered_is_unknown_of_one_day() -> None:
    assert periods.days_covered([date(2024, 1, 1)]) is None
    assert periods.days_covered([date(2024, 1, 1)] * 3) is None


def test_hauls_of_one_day_are_no_days_apart() -> None:
    days = [date(2024, 1, 1), date(2024, 1, 1), date(2024, 1, 9)]
    assert periods.intervals(days) == [0, 8]
    assert periods.days_covered(days) == 12


DAYS = st.dates(date(1990, 1, 1), date(1994, 12, 31))
SPANS = st.lists(
    st.builds(lambda start, length: (start, start + timedelta(days=length)), DAYS,
              st.integers(0, 120)),
    min_size=1,
    max_size=12,
)  # fmt: skip


def _covered(spans: list[Span]) -> set[date]:
    return {
        start + timedelta(days=at) for start, end in spans for at in range((end - start).days + 1)
    }


@given(SPANS)
def test_months_are_the_sum_of_each_covered_day_once(spans: list[Span]) -> None:
    days = _covered(spans)
    expected = sum((Fraction(1, monthrange(d.year, d.month)[1]) for d in days), Fraction(0))
    assert periods.months_in(spans) == expected


@given(SPANS, DAYS)
def test_a_day_is_within_the_union_when_some_span_holds_it(spans: list[Span], day: date) -> None:
    assert periods.is_within(day, periods.union(spans)) == (day in _covered(spans))


@given(SPANS)
def test_union_and_gaps_fill_the_time_from_first_to_last_day(spans: list[Span]) -> None:
    whole = [(min(s for s, _ in spans), max(e for _, e in spans))]
    assert periods.union([*periods.union(spans), *periods.gaps(spans)]) == whole
