"""The first sheet: what can be saved, the key figures, spend by category, two charts."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from wastewise_jobs.analysis.model import Category
from wastewise_jobs.analysis.reports.charts import COLOURS, STACKED
from wastewise_jobs.analysis.reports.html import VERDICTS, described, period_of
from wastewise_jobs.analysis.reports.workbook.advice import NO_PAYBACK, Advice
from wastewise_jobs.analysis.reports.workbook.book import Book, Sheet, format_of
from wastewise_jobs.analysis.reports.workbook.metrics import NAMES
from wastewise_jobs.analysis.reports.workbook.months import MonthAddresses
from wastewise_jobs.analysis.reports.workbook.rows import Addresses
from wastewise_jobs.analysis.result import Analysis

_MONTH_AXIS = {"num_format": "mmm yy", "num_format_linked": False, "text_axis": True}
_KEY_FIGURES = (
    "total_spend", "months", "monthly_cost", "cost_per_door", "yards_per_door", "hauls",
    "tons_per_haul", "capacity_utilisation", "days_between_pickups",
)  # fmt: skip


def write_summary(
    book: Book,
    sheet: Sheet,
    analysis: Analysis,
    advice: Sequence[Advice],
    data: Addresses,
    months: MonthAddresses,
) -> None:
    """Fill the sheet; everything on it refers to the other sheets."""
    sheet.widths(34, 22, 17, 36)
    sheet.printed(landscape=False)
    sheet.text(0, 0, analysis.facts.name, "title")
    sheet.height(0, 28)
    sheet.text(1, 0, described(analysis.facts), "faint")
    sheet.text(2, 0, period_of(analysis), "faint")
    row = _write_savings(sheet, 4, analysis, advice)
    row = _write_figures(sheet, row + 1, analysis)
    row = _write_categories(sheet, row + 1, analysis, data)
    _add_charts(book, sheet, row + 1, analysis, months)


def _write_savings(sheet: Sheet, row: int, analysis: Analysis, advice: Sequence[Advice]) -> int:
    sheet.text(row, 0, "Net savings a year", "heading")
    sheet.height(row, 20)
    first, last = row + 3, row + 2 + len(advice)
    verdicts, nets = f"$B${first + 1}:$B${last + 1}", f"$D${first + 1}:$D${last + 1}"
    if advice:
        recommended = (VERDICTS[name][0] for name in ("strongly_recommend", "recommend"))
        total = "+".join(f'SUMIF({verdicts},"{label}",{nets})' for label in recommended)
        sheet.formula(row + 1, 0, f"={total}", analysis.annual_savings, "usd_big")
        sheet.height(row + 1, 34)
        sheet.header(
            row + 2, ["Measure", "Verdict", "Payback, months", "Net savings a year"], {2, 3}
        )
    else:
        sheet.text(row + 1, 0, analysis.headline, "bold")
        return row + 2
    for at, entry in enumerate(advice, first):
        recommendation = entry.recommendation
        sheet.text(at, 0, recommendation.title)
        sheet.formula(at, 1, f"={entry.verdict}", VERDICTS[recommendation.verdict][0], "text")
        payback = recommendation.payback_months
        if entry.payback:
            shown = NO_PAYBACK if payback is None else payback
            sheet.formula(at, 2, f"={entry.payback}", shown, "number")
        sheet.formula(at, 3, f"={entry.net}", recommendation.annual_savings, "usd")
    return last + 1


def _write_figures(sheet: Sheet, row: int, analysis: Analysis) -> int:
    sheet.header(row, ["Key figure", "Value", "", "Benchmark"], {1})
    row += 1
    for code in _KEY_FIGURES:
        figure = analysis.figure(code)
        if figure is None:
            continue
        sheet.text(row, 0, figure.result.label)
        sheet.formula(row, 1, f"={NAMES[code]}", figure.value, format_of(figure.result.unit))
        sheet.text(row, 3, figure.benchmark.text if figure.benchmark else "", "faint")
        row += 1
    return row


def _write_categories(sheet: Sheet, row: int, analysis: Analysis, data: Addresses) -> int:
    if not analysis.categories:
        return row
    sheet.header(row, ["Category", "Total", "Charge lines", "Share of spend"], {1, 2, 3})
    first = row + 1
    for at, entry in enumerate(analysis.categories, first):
        label = entry.category.label
        sheet.text(at, 0, label)
        formula = f"=SUMIFS({data.amount},{data.category},A{at + 1})"
        sheet.formula(at, 1, formula, entry.total, "usd")
        sheet.formula(at, 2, f"=COUNTIFS({data.category},A{at + 1})", entry.lines, "whole")
        share = "" if entry.share is None else entry.share
        formula = f'=IF(TotalSpend=0,"",B{at + 1}/TotalSpend*100)'
        sheet.formula(at, 3, formula, share, "percent")
    end = first + len(analysis.categories)
    total = sum((entry.total for entry in analysis.categories), Decimal(0))
    lines = sum(entry.lines for entry in analysis.categories)
    sheet.text(end, 0, "All charges", "bold")
    sheet.formula(end, 1, f"=SUM(B{first + 1}:B{end})", total, "usd_bold")
    sheet.formula(end, 2, f"=SUM(C{first + 1}:C{end})", lines, "whole_bold")
    return end + 1


def _add_charts(
    book: Book, sheet: Sheet, row: int, analysis: Analysis, months: MonthAddresses
) -> None:
    if analysis.categories:
        chart = book.workbook.add_chart({"type": "column", "subtype": "stacked"})
        for category in STACKED:
            if category in months.categories:
                chart.add_series(_series(category, months))
        chart.set_title({"name": "Spend by month", "name_font": {"size": 12}})
        chart.set_x_axis(_MONTH_AXIS)
        chart.set_y_axis({"num_format": "$#,##0", "major_gridlines": {"visible": True}})
        _place(sheet, chart, row)
        row += 18
    if any(month.hauls for month in analysis.months):
        chart = book.workbook.add_chart({"type": "line"})
        chart.add_series(
            {
                "name": "Tons per haul",
                "categories": f"={months.name}",
                "values": f"={months.tons_per_haul}",
                "line": {"color": "#0072b2", "width": 2.25},
                "marker": {"type": "square", "size": 5, "fill": {"color": "#0072b2"}},
            }
        )
        chart.set_title({"name": "Tons per haul (target 8.5)", "name_font": {"size": 12}})
        chart.set_x_axis(_MONTH_AXIS)
        chart.set_y_axis({"min": 0, "num_format": "0", "max": 12})
        chart.set_legend({"none": True})
        _place(sheet, chart, row)


def _series(category: Category, months: MonthAddresses) -> dict[str, object]:
    return {
        "name": category.label,
        "categories": f"={months.name}",
        "values": f"={months.categories[category]}",
        "fill": {"color": COLOURS[category]},
        "gap": 60,
    }


def _place(sheet: Sheet, chart: Any, row: int) -> None:  # noqa: ANN401  # xlsxwriter has no types
    chart.set_size({"width": 780, "height": 330})
    sheet.worksheet.insert_chart(row, 0, chart)
