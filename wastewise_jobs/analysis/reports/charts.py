"""The charts of the HTML report, as inline SVG.

Positions are floats: they are pixels, not money. Colours are told apart by those who are colour
blind (Okabe and Ito) and every series is named beside the chart as well.
"""

import math
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal

from markupsafe import Markup

from wastewise_jobs.analysis.breakdown import Month
from wastewise_jobs.analysis.display import money, number
from wastewise_jobs.analysis.figures import Figure
from wastewise_jobs.analysis.model import Category
from wastewise_jobs.analysis.reports.svg import box, chart, line, tag, text

COLOURS = {
    Category.HAULING: "#0072b2",
    Category.DISPOSAL: "#56b4e9",
    Category.RENTAL: "#009e73",
    Category.FEES: "#f0c808",
    Category.OVERAGE: "#e07b00",
    Category.BULK: "#7a4fa3",
    Category.CONTAMINATION: "#c0392b",
    Category.OTHER: "#8a8f98",
}
# From the bottom of a bar: what every property pays first, what can be avoided on top.
STACKED = tuple(COLOURS)

Scale = Callable[[float], float]
Days = Callable[[date], float]

WIDTH = 920.0
_LEFT, _RIGHT, _TOP = 62.0, 14.0, 22.0
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_INK, _FAINT, _GRID = "#22303c", "#5c6b78", "#e3e8ec"

# What a gauge shows from left to right; a value beyond is drawn at the end.
_GAUGES = {
    "cost_per_door": (10.0, 60.0),
    "yards_per_door": (0.0, 4.0),
    "tons_per_haul": (0.0, 12.0),
    "capacity_utilisation": (0.0, 110.0),
    "days_between_pickups": (0.0, 21.0),
}


def gauge(figure: Figure) -> Markup:
    """The figure as a mark on a scale on which the benchmark range is shaded."""
    benchmark = figure.benchmark
    if benchmark is None or benchmark.low is None or benchmark.high is None:
        return Markup("")
    low, high = _GAUGES.get(figure.code, (0.0, float(benchmark.high) * 2))
    width, track, top = 260.0, 10.0, 16.0

    def x(value: Decimal) -> float:
        return 8 + (width - 16) * min(1.0, max(0.0, (float(value) - low) / (high - low)))

    start, end, here = x(benchmark.low), x(benchmark.high), x(figure.value)
    arrow = f"M{here:.1f} {top + 1} l-6 -10 h12 z"
    return chart(
        width,
        44,
        f"{figure.result.label}: {figure.result.text}; benchmark {benchmark.text}",
        box(8, top, width - 16, track, rx=5, fill="#dde3e8"),
        box(start, top, max(2.0, end - start), track, fill="#5aa469"),
        text((start + end) / 2, 40, f"{_short(benchmark.low)}–{_short(benchmark.high)}",
             text_anchor="middle", font_size=11, fill=_FAINT),
        tag("path", d=arrow, fill=_INK),
        line(here, top, here, top + track, stroke=_INK, stroke_width=2.5),
    )  # fmt: skip


def _short(value: Decimal) -> str:
    return format(value.normalize(), "f")


def spend_chart(months: Sequence[Month]) -> Markup:
    """Spend of each month, stacked by category; credits hang below the line."""
    tops = [sum((t for _, t in month.categories if t > 0), Decimal(0)) for month in months]
    lows = [sum((t for _, t in month.categories if t < 0), Decimal(0)) for month in months]
    ticks = _ticks(float(min(lows, default=Decimal(0))), float(max(tops, default=Decimal(0))))
    height, bottom = 300.0, 262.0
    low, high = ticks[0], ticks[-1]

    def y(value: float) -> float:
        return bottom - (bottom - _TOP) * (value - low) / (high - low)

    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(months))
    parts = _grid(ticks, y, lambda value: money(Decimal(str(value)), 0))
    for at, (month, top) in enumerate(zip(months, tops, strict=True)):
        left = _LEFT + at * step + step * 0.14
        parts += _bar(month, left, step * 0.72, y)
        if step > 46 and month.categories:  # noqa: PLR2004  # room for a label
            parts.append(text(left + step * 0.36, y(float(top)) - 5, _thousands(month.spend),
                              text_anchor="middle", font_size=11, fill=_INK))  # fmt: skip
    parts += _month_labels([month.month for month in months], step, bottom + 18)
    parts.append(line(_LEFT, y(0), WIDTH - _RIGHT, y(0), stroke=_FAINT))
    span = f"{month_name(months[0].month)} to {month_name(months[-1].month)}"
    label = f"Monthly spend by category, {span}"
    return chart(WIDTH, height, label, *parts)


def _bar(month: Month, left: float, width: float, y: Scale) -> list[Markup]:
    totals = dict(month.categories)
    parts: list[Markup] = []
    up = down = 0.0
    for category in STACKED:
        value = float(totals.get(category, 0))
        if not value:
            continue
        base = up if value > 0 else down
        first, last = y(max(base, base + value)), y(min(base, base + value))
        hint = tag("title", f"{month.month} {category.label}: {money(totals[category])}")
        parts.append(box(left, first, width, last - first, hint, fill=COLOURS[category],
                         stroke="#fff", stroke_width=0.6 if width > 3 else 0))  # noqa: PLR2004  # fmt: skip
        if value > 0:
            up += value
        else:
            down += value
    return parts


def haul_chart(points: Sequence[tuple[date, Decimal]], months: Sequence[Month]) -> Markup:
    """The weight of each haul over time with the target band, and the mean of each month."""
    named = [month for month in months if month.hauls]
    first = date.fromisoformat(f"{named[0].month}-01")
    last = date.fromisoformat(f"{named[-1].month}-01").toordinal() + 31
    heaviest = max(
        [float(tons) for _, tons in points] + [float(m.tons_per_haul or 0) for m in named]
    )
    ticks = _ticks(0, max(10.0, heaviest))
    bottom = 232.0

    def y(value: float) -> float:
        return bottom - (bottom - _TOP) * value / ticks[-1]

    def x(day: date) -> float:
        share = (day.toordinal() - first.toordinal()) / (last - first.toordinal())
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * share

    parts = [box(_LEFT, y(9), WIDTH - _LEFT - _RIGHT, y(8) - y(9), fill="#d9ecdd")]
    parts += _grid(ticks, y, lambda value: f"{value:g} t")
    parts += _thresholds(y)
    for day, tons in points:
        hint = tag("title", f"{day.isoformat()}: {number(tons)} tons")
        parts.append(tag("circle", hint, cx=x(day), cy=y(float(tons)), r=3.2, fill="#0072b2",
                         fill_opacity=0.55))  # fmt: skip
    parts += _means(named, x, y)
    parts += _haul_labels(named, x, bottom + 18)
    label = f"Tons per haul, {named[0].month} to {named[-1].month}, against the target of 8.5"
    return chart(WIDTH, 262, label, *parts)


def _thresholds(y: Scale) -> list[Markup]:
    return [
        line(_LEFT, y(8.5), WIDTH - _RIGHT, y(8.5), stroke="#2e7d46", stroke_width=1.5),
        text(WIDTH - _RIGHT - 4, y(9) - 4, "target 8.5 tons", text_anchor="end", font_size=11,
             fill="#256339"),
        line(_LEFT, y(6), WIDTH - _RIGHT, y(6), stroke="#b3541e", stroke_dasharray="5 4"),
        text(WIDTH - _RIGHT - 4, y(6) - 4, "under 6.0: monitoring", text_anchor="end",
             font_size=11, fill="#b3541e"),
    ]  # fmt: skip


def _means(months: Sequence[Month], x: Days, y: Scale) -> list[Markup]:
    spots = [
        (x(date.fromisoformat(f"{month.month}-16")), y(float(month.tons_per_haul or 0)), month)
        for month in months
    ]
    path = " ".join(
        f"{'L' if at else 'M'}{px:.1f} {py:.1f}" for at, (px, py, _) in enumerate(spots)
    )
    marks = [
        box(px - 4, py - 4, 8, 8, tag("title", f"Mean of {month.month}: "
            f"{number(month.tons_per_haul or Decimal(0))} tons"), fill=_INK)
        for px, py, month in spots
    ]  # fmt: skip
    return [tag("path", d=path, fill="none", stroke=_INK, stroke_width=2), *marks]


def _haul_labels(months: Sequence[Month], x: Days, y: float) -> list[Markup]:
    every = math.ceil(len(months) / 14)
    return [
        text(x(date.fromisoformat(f"{month.month}-16")), y, _label(month.month),
             text_anchor="middle", font_size=11, fill=_FAINT)
        for month in months[::every]
    ]  # fmt: skip


def _grid(ticks: Sequence[float], y: Scale, name: Callable[[float], str]) -> list[Markup]:
    parts: list[Markup] = []
    for tick in ticks:
        parts += [
            line(_LEFT, y(tick), WIDTH - _RIGHT, y(tick), stroke=_GRID),
            text(_LEFT - 8, y(tick) + 4, name(tick), text_anchor="end", font_size=11, fill=_FAINT),
        ]
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, four to seven of them, from at or below `low` to at or above `high`."""
    span = max(high - min(low, 0.0), 1.0)
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 6)  # noqa: PLR2004  # lines that a chart bears
    first, last = math.floor(min(low, 0.0) / step), max(1, math.ceil(high / step))
    return [step * at for at in range(first, last + 1)]


def _month_labels(months: Sequence[str], step: float, y: float) -> list[Markup]:
    every = math.ceil(len(months) / 14)
    return [
        text(_LEFT + (at + 0.5) * step, y, _label(month), text_anchor="middle",
             font_size=11, fill=_FAINT)
        for at, month in enumerate(months)
        if at % every == 0
    ]  # fmt: skip


def month_name(month: str) -> str:
    """`Jan 2025` for `2025-01`."""
    return f"{_MONTHS[int(month[5:7]) - 1]} {month[:4]}"


def _label(month: str) -> str:
    return f"{_MONTHS[int(month[5:7]) - 1]} \u2019{month[2:4]}"


def _thousands(value: Decimal) -> str:
    return f"{money(value / 1000, 1)}k" if abs(value) >= 1000 else money(value, 0)  # noqa: PLR2004  # a label's width
