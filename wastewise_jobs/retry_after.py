"""A Retry-After header as a delay: seconds or an HTTP date (RFC 9110, section 10.2.3). Pure.

The other side may send anything. What names no delay is None, what is past is no delay, and what
is longer than anybody waits, or beyond the calendar, is `longest`. Nothing here raises.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz

LONGEST_RETRY_AFTER = timedelta(hours=24)
# Fractions are taken too.
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
# Longer than any date, and than any number that is not beyond all waiting.
_LONGEST_VALUE = 100
# One more year must fit into the calendar, whatever the zone.
_LAST_YEAR = 9998


def retry_after(
    value: str | None, *, now: datetime | None = None, longest: timedelta = LONGEST_RETRY_AFTER
) -> timedelta | None:
    """How long to wait, at most `longest`; a date counts from `now`."""
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        # A number of any length: float() makes infinity of it.
        return timedelta(seconds=min(float(text), longest.total_seconds()))
    moment = http_date(text)
    if moment is None:
        return None
    return min(max(moment - (now or datetime.now(UTC)), timedelta(0)), longest)


def http_date(value: str) -> datetime | None:
    """The moment that a header names, in UTC where it names no zone; None where it names none."""
    try:
        parts = parsedate_tz(value[:_LONGEST_VALUE])
        if parts is None:
            return None
        year, month, day, hour, minute, second = parts[:6]
        zone = timezone(timedelta(seconds=parts[9] or 0))
        return datetime(min(year, _LAST_YEAR), month, day, hour, minute, second, tzinfo=zone)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
