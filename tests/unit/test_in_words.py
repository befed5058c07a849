import pytest

from wastewise_jobs.in_words import count, duration, number, percent


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.42 s"),
        (-3.0, "0.00 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (119.7, "2 min 00 s"),
        (185.2, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (18_430, "5 h 07 min"),
        (172_799.4, "47 h 59 min"),
        (1_047_600, "12 d 3 h"),
        (1e9, "11,574 d 1 h"),
        (None, "-"),
        (float("nan"), "-"),
        (float("inf"), "-"),
    ],
)
def test_a_duration_says_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_shares_and_counts_have_no_more_digits_than_anybody_reads() -> None:
    assert percent(100 / 3) == "33.3 %"
    assert number(12_000) == "12,000"
    assert number(100 / 3) == "33.33"
    assert number(2.0) == "2"
    assert number(float("inf")) == "inf"
    assert [count(1, "alert"), count(1200, "alert"), count(0, "entry", "entries")] == [
        "1 alert",
        "1,200 alerts",
        "0 entries",
    ]
