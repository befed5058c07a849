"""The sheet of months: days covered, spend by category, hauls and tons, all live."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from wastewise_jobs.analysis.breakdown import Month
from wastewise_jobs.analysis.model import Category
from wastewise_jobs.analysis.reports.workbook.book import Sheet
from wastewise_jobs.analysis.reports.workbook.rows import Addresses

# Days covered is counted day by day over all lines; past this a spreadsheet would stall on it.
MOST_LOOKUPS = 2_000_000
_DAYS = "{" + ";".join(map(str, range(31))) + "}"


@dataclass(frozen=True, slots=True)
class MonthAddresses:
    """Where the columns of the months are, and which category is in which column."""

    name: str
    days: str
    days_covered: str
    spend: str
    tons_per_haul: str
    categories: dict[Category, str]


def write_months(
    sheet: Sheet, months: Sequence[Month], data: Addresses, *, lines: int
) -> MonthAddresses:
    """Fill the sheet and say where its columns are. `lines` is the number of charge lines."""
    used = {category for month in months for category, _ in month.categories}
    categories = [category for category in Category if category in used]
    names = ["Month", "Days", "Days covered", *(category.label for category in categories)]
    names += ["All charges", "Hauls", "Tons", "Tons per haul"]
    sheet.header(0, names, range(1, len(names)))
    sheet.widths(11, 7, 13, *(20 if c is Category.FEES else 15 for c in categories), 14, 8, 11, 14)
    sheet.printed(header_row=0)
    live = len(months) * 31 * lines <= MOST_LOOKUPS
    for row, month in enumerate(months, 1):
        _write_month(sheet, row, month, categories, data, live=live)
    last, spend = len(months), 3 + len(categories)
    return MonthAddresses(
        name=sheet.column(0, 1, last),
        days=sheet.column(1, 1, last),
        days_covered=sheet.column(2, 1, last),
        spend=sheet.column(spend, 1, last),
        tons_per_haul=sheet.column(spend + 3, 1, last),
        categories={c: sheet.column(3 + at, 1, last) for at, c in enumerate(categories)},
    )


def _write_month(
    sheet: Sheet,
    row: int,
    month: Month,
    categories: Sequence[Category],
    data: Addresses,
    *,
    live: bool,
) -> None:
    at = row + 1
    sheet.day(row, 0, date.fromisoformat(f"{month.month}-01"), "month")
    sheet.formula(row, 1, f"=DAY(EOMONTH(A{at},0))", month.days, "whole")
    if live:
        sheet.formula(row, 2, _days_covered(at, data), month.days_covered, "whole")
    else:
        sheet.number(row, 2, month.days_covered, "whole")
    totals = dict(month.categories)
    for column, category in enumerate(categories, 3):
        formula = f'=SUMIFS({data.amount},{data.month},A{at},{data.category},"{category.label}")'
        sheet.formula(row, column, formula, totals.get(category, 0), "usd")
    spend = 3 + len(categories)
    sheet.formula(row, spend, f"=SUMIFS({data.amount},{data.month},A{at})", month.spend, "usd")
    within = f'{data.haul_date},">="&A{at},{data.haul_date},"<="&EOMONTH(A{at},0)'
    sheet.formula(row, spend + 1, f"=COUNTIFS({within})", month.hauls, "whole")
    sheet.formula(row, spend + 2, f"=SUMIFS({data.haul_tons},{within})", month.tons, "number")
    hauls, tons = sheet.cell(row, spend + 1), sheet.cell(row, spend + 2)
    mean = "" if month.tons_per_haul is None else month.tons_per_haul
    sheet.formula(row, spend + 3, f'=IF({hauls}=0,"",{tons}/{hauls})', mean, "number")


def _days_covered(at: int, data: Addresses) -> str:
    """Days of the month that some service period covers, each counted once."""
    days = f"(A{at}+{_DAYS})"
    covered = f'COUNTIFS({data.covers_from},"<="&{days},{data.covers_to},">="&{days})>0'
    return f"=SUMPRODUCT(--({covered}),--({days}<=EOMONTH(A{at},0)))"
