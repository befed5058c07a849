from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wastewise_jobs.retry_after import LONGEST_RETRY_AFTER, http_date, retry_after

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = "Fri, 31 Dec"


@pytest.mark.parametrize(
    ("value", "delay"),
    [
        ("120", timedelta(seconds=120)),
        (" 1.5 ", timedelta(seconds=1.5)),
        ("0", timedelta(0)),
        ("100000000000000000000", LONGEST_RETRY_AFTER),
        ("9" * 5000, LONGEST_RETRY_AFTER),
        (format_datetime(NOW + timedelta(minutes=7), usegmt=True), timedelta(minutes=7)),
        (format_datetime(NOW - timedelta(minutes=7), usegmt=True), timedelta(0)),
        ("Sun, 01 Mar 2026 13:02:00 +0100", timedelta(minutes=2)),
        ("Sunday, 01-Mar-26 12:01:00 GMT", timedelta(minutes=1)),
        (f"{DAY} 9999 23:59:59 GMT", LONGEST_RETRY_AFTER),
        (f"{DAY} 99999 00:00:00 GMT", LONGEST_RETRY_AFTER),
        (f"{DAY} 99999999999999999999 00:00:00 GMT", LONGEST_RETRY_AFTER),
        (f"{DAY} 9999 23:59:59 -1200", LONGEST_RETRY_AFTER),
        (f"{DAY} 9999 99:00:00 GMT", None),
        (f"{DAY} 2026 00:00:00 +9999", None),
        ("99999999999999999999 Mar 2026 00:00:00 GMT", None),
        ("-5", None),
        ("1e9", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_whatever_is_sent_is_a_delay_within_a_day_or_none(
    value: str | None, delay: timedelta | None
) -> None:
    assert retry_after(value, now=NOW) == delay


@given(st.text() | st.from_regex(r"[0-9]{1,3} (Jan|Feb) [0-9]{1,30} [0-9:+-]{0,30}"))
def test_no_text_is_too_strange(value: str) -> None:
    delay = retry_after(value, now=NOW, longest=timedelta(hours=1))
    assert delay is None or timedelta(0) <= delay <= timedelta(hours=1)
    http_date(value)
