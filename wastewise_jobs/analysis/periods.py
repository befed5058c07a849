"""How much time a set of service periods or hauls covers, counted exactly."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise

Span = tuple[date, date]

_DAY = timedelta(days=1)


def union(spans: Iterable[Span]) -> list[Span]:
    """The spans, ends inclusive, merged where they overlap or touch, in order."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + _DAY:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def is_within(day: date, merged: Sequence[Span]) -> bool:
    """Whether one of the merged spans holds the day."""
    at = bisect_right(merged, day, key=lambda span: span[0])
    return at > 0 and day <= merged[at - 1][1]


def month_shares(spans: Iterable[Span]) -> dict[date, tuple[int, int]]:
    """First day of each calendar month touched -> (days covered, days in the month)."""
    shares: dict[date, tuple[int, int]] = {}
    for start, end in union(spans):
        first = start.replace(day=1)
        while first <= end:
            following = (first + timedelta(days=31)).replace(day=1)
            covered = (min(end + _DAY, following) - max(start, first)).days
            length = (following - first).days
            shares[first] = (shares.get(first, (0, length))[0] + covered, length)
            first = following
    return dict(sorted(shares.items()))


def months_in(spans: Iterable[Span]) -> Fraction:
    """Months covered: the sum over calendar months of days covered / days in that month."""
    shares = month_shares(spans).values()
    return sum((Fraction(covered, length) for covered, length in shares), Fraction(0))


def gaps(spans: Iterable[Span]) -> list[Span]:
    """The stretches between the first and the last day that no span covers."""
    merged = union(spans)
    return [(before[1] + _DAY, after[0] - _DAY) for before, after in pairwise(merged)]


def intervals(days: Sequence[date]) -> list[int]:
    """Days between each haul and the next, sorted by date; hauls of one day are 0 apart."""
    ordered = sorted(days)
    return [(later - day).days for day, later in pairwise(ordered)]


def days_covered(days: Sequence[date]) -> Fraction | None:
    """What a haul log covers: first to last haul plus the mean interval.

    None when it cannot be told: fewer than two hauls, or all on one day.
    """
    between = intervals(days)
    span = sum(between)
    if not span:
        return None
    return span + Fraction(span, len(between))
