from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wastewise_jobs.analysis.intake.cells import (
    Cell,
    date_of,
    is_european,
    number_of,
    period_of,
    text_of,
    time_text,
)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1234.5", "1234.5"),
        ("$1,234.50", "1234.50"),
        ("$ 1,234,567.89", "1234567.89"),
        ("(12.00)", "-12.00"),
        ("($1,200.00)", "-1200.00"),
        ("$ (1,200.00)", "-1200.00"),
        ("$(12.00)", "-12.00"),
        ("12.00-", "-12.00"),
        ("-$12.00", "-12.00"),
        ("$-12.00", "-12.00"),
        ("\u221212.00", "-12.00"),
        ("12.00 CR", "-12.00"),
        ("12.00 DR", "12.00"),
        ("USD 12", "12"),
        (" 12.00\u00a0", "12.00"),
        ("1.234,50", "1234.50"),
        ("1.234.567", "1234567"),
        ("12,5", "12.5"),
        ("12,50", "12.50"),
        ("0,125", "0.125"),
        ("1 234,50", "1234.50"),
        ("1,234", "1234"),
        ("1.234", "1.234"),
        ("$ -", "0"),
        (".5", "0.5"),
        ("1.2E+04", "12000"),
        (12, "12"),
        (0.1, "0.10"),
        (0.1 + 0.2, "0.30"),
        (1234.567891234, "1234.567891"),
        (-61.4, "-61.40"),
    ],
)
def test_a_number_is_read_exactly(cell: Cell, value: str) -> None:
    assert number_of(cell) == Decimal(value)


@pytest.mark.parametrize(
    "cell",
    ["abc", "", "12.00 EUR", "1,23,456", "1.2.3", "(12.00", "-(12.00)", "--12", "12-34", "€ 12",
     "1e999999", "9" * 41, "NaN", "inf", float("nan"), float("inf"), 1e300, 10**10, "9999999999",
     True, None, date(2024, 1, 1), "=1+1"],
)  # fmt: skip
def test_what_is_no_number_is_refused(cell: Cell) -> None:
    with pytest.raises(ValueError, match=r"not a number|too large"):
        number_of(cell)


def test_an_ambiguous_number_is_european_only_when_its_column_is() -> None:
    assert is_european(["1.234,50", "1.234", "12"])
    assert not is_european(["1.234,50", "12.50"])
    assert not is_european(["1.234", "1,234"])
    assert number_of("1.234", european=True) == 1234
    assert number_of("5,234", european=True) == Decimal("5.234")


@given(st.decimals(-999_999_999, 999_999_999, places=2))
def test_every_way_of_writing_an_amount_reads_back_as_that_amount(value: Decimal) -> None:
    size, sign = abs(value), "-" if value < 0 else ""
    european = f"{size:,}".translate(str.maketrans(",.", ".,"))
    for text in (f"{sign}${size:,}", f"{sign}{size}", f"{size}{sign}", f"{sign}{european}"):
        assert number_of(text) == value
    if value < 0:
        assert number_of(f"({size:,})") == value


@given(st.decimals(-999_999, 999_999, places=6))
def test_a_float_of_a_workbook_reads_back_to_six_places(value: Decimal) -> None:
    assert number_of(float(value)) == value


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        ("2024-01-31", date(2024, 1, 31)),
        ("2024-01-31T23:59:59Z", date(2024, 1, 31)),
        ("2024-01-31 00:00:00", date(2024, 1, 31)),
        ("2024/1/5", date(2024, 1, 5)),
        ("20240131", date(2024, 1, 31)),
        ("1/31/2024", date(2024, 1, 31)),
        ("01/31/24", date(2024, 1, 31)),
        ("1-5-1999", date(1999, 1, 5)),
        ("1/5/99", date(1999, 1, 5)),
        ("01/31/2024 8:15 AM", date(2024, 1, 31)),
        ("Jan 31, 2024", date(2024, 1, 31)),
        ("January 31st, 2024", date(2024, 1, 31)),
        ("Wed, Jan 31, 2024", date(2024, 1, 31)),
        ("31-Jan-2024", date(2024, 1, 31)),
        ("31 Jan 24", date(2024, 1, 31)),
        (datetime(2024, 1, 31, 12, tzinfo=UTC), date(2024, 1, 31)),
        (date(2024, 1, 31), date(2024, 1, 31)),
        (45322, date(2024, 1, 31)),
        (45322.5, date(2024, 1, 31)),
    ],
)
def test_a_date_is_read_with_the_month_first(cell: Cell, day: date) -> None:
    assert date_of(cell) == day


@pytest.mark.parametrize(
    "cell",
    ["31/01/2024", "2024-02-30", "1989-12-31", "2101-01-01", "0001-01-01", "soon", "12", 5, 1e12,
     True, "Foo 3, 2024", date(1900, 1, 1), "99999-01-01"],
)  # fmt: skip
def test_what_is_no_date_of_this_age_is_refused(cell: Cell) -> None:
    with pytest.raises(ValueError, match=r"not a date|not between 1990 and 2100"):
        date_of(cell)


@pytest.mark.parametrize(
    "cell",
    ["01/01/2024 - 01/31/2024", "01/01/2024-01/31/2024", "2024-01-01 to 2024-01-31",
     "1/1/24 – 1/31/24", "January 2024", "2024-01", date(2024, 1, 1)],
)  # fmt: skip
def test_a_service_period_in_one_column_is_read(cell: Cell) -> None:
    assert period_of(cell) == (date(2024, 1, 1), date(2024, 1, 31))


def test_times_and_texts_lose_what_the_format_added() -> None:
    assert time_text(time(8, 5)) == "08:05"
    assert time_text(0.5) == "12:00"
    assert time_text("8:05 AM") == "8:05 AM"
    assert text_of(1001.0) == "1001"
    assert text_of("a\x00\n b\ud800") == "a b"
