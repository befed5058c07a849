"""The sheet of recommendations: each calculation step is a formula on the cells above it."""

from collections.abc import Mapping
from dataclasses import dataclass

from wastewise_jobs.analysis.figures import Quantity
from wastewise_jobs.analysis.recommendations import Omission, Recommendation
from wastewise_jobs.analysis.reports.html import VERDICTS
from wastewise_jobs.analysis.reports.workbook.book import Sheet, format_of, unit_label
from wastewise_jobs.analysis.reports.workbook.rows import Addresses
from wastewise_jobs.analysis.result import Analysis

_STRONG, _PLAIN, _CONSIDER, _NOT = (label for label, _ in VERDICTS.values())
NO_PAYBACK = "none"


@dataclass(frozen=True, slots=True)
class Advice:
    """Where a recommendation's outcome is, for the summary."""

    recommendation: Recommendation
    verdict: str
    payback: str
    net: str


def _monitoring(data: Addresses) -> dict[str, str]:
    hauling = (
        f'{data.category},"Hauling",{data.covers_from},">="&MIN({data.haul_date}),'
        f'{data.covers_from},"<"&(MIN({data.haul_date})+DaysCovered)'
    )
    within = f'{data.covers_from},"<="&{data.haul_date},{data.covers_to},">="&{data.haul_date}'
    return {
        "hauls": "=HaulCount",
        "total_tons": "=TotalTons",
        "days_covered": "=DaysCovered",
        "mean_tons": "=TonsPerHaul",
        "longest_gap": f"=MAX({data.haul_gap})",
        "hauling_charges": f"=SUMIFS({data.amount},{hauling})",
        "charged_hauls": f"=SUMPRODUCT(--(COUNTIFS({hauling},{within})>0))",
        "cost_per_haul": "=IF(AND({charged_hauls}>0,{hauling_charges}>0),"
        "{hauling_charges}/{charged_hauls},AssumedCostPerHaul)",
        "target": "=TargetTons",
        "monitoring": "=MonitoringPerMonth",
        "installation": "=InstallationOnce",
        "annual_hauls": "=HaulsPerYear",
        "annual_tons": "=TonsPerYear",
        "needed_hauls": "={annual_tons}/{target}",
        "gross_savings": "=({annual_hauls}-{needed_hauls})*{cost_per_haul}",
        "service_cost": "={monitoring}*12",
        "net_savings": "={gross_savings}-{service_cost}",
        "payback": '=IF({net_savings}>0,{installation}/({net_savings}/12),"none")',
        "verdict": f'=IF({{net_savings}}<=0,"{_NOT}",IF({{payback}}<=6,"{_STRONG}",'
        f'IF({{payback}}<=12,"{_PLAIN}",IF({{payback}}<=24,"{_CONSIDER}","{_NOT}"))))',
    }


def _contamination(data: Addresses) -> dict[str, str]:
    return {
        "contamination_charges": f'=SUMIFS({data.amount},{data.category},"Contamination")',
        "total_spend": "=TotalSpend",
        "months": "=MonthsCovered",
        "share": "={contamination_charges}/{total_spend}*100",
        "avoidable": "=IF({share}>5,70,50)",
        "service": "=ContaminationService",
        "annual_charges": "={contamination_charges}/{months}*12",
        "gross_savings": "={annual_charges}*{avoidable}/100",
        "service_cost": "={service}*12",
        "net_savings": "={gross_savings}-{service_cost}",
        "verdict": f'=IF(OR({{net_savings}}<=0,{{share}}<=3),"{_NOT}",'
        f'IF({{share}}>5,"{_STRONG}","{_PLAIN}"))',
    }


def _bulk(data: Addresses) -> dict[str, str]:
    return {
        "bulk_charges": f'=SUMIFS({data.amount},{data.category},"Bulk")',
        "months": "=MonthsCovered",
        "subscription": "=BulkSubscription",
        "average": "={bulk_charges}/{months}",
        "monthly_savings": "={average}-{subscription}",
        "net_savings": "={monthly_savings}*12",
        "verdict": f'=IF({{average}}>500,"{_STRONG}","{_NOT}")',
    }


def write_advice(sheet: Sheet, analysis: Analysis, data: Addresses) -> list[Advice]:
    """Fill the sheet; says where each outcome is."""
    sheet.widths(38, 18, 22, 84)
    sheet.printed()
    formulas = {
        "compactor_monitoring": _monitoring(data),
        "contamination_reduction": _contamination(data),
        "bulk_subscription": _bulk(data),
    }
    row = 0
    advice: list[Advice] = []
    for entry in analysis.recommendations:
        outcome, row = _write_one(sheet, row, entry, formulas[entry.code])
        advice.append(outcome)
    _write_omissions(sheet, row, analysis.omissions)
    return advice


def _write_one(
    sheet: Sheet, row: int, entry: Recommendation, formulas: Mapping[str, str]
) -> tuple[Advice, int]:
    sheet.text(row, 0, entry.title, "heading")
    verdict_row = row
    sheet.text(row + 1, 0, entry.reason, "faint")
    sheet.header(row + 2, ["", "Value", "Unit", "Calculation"], {1})
    sheet.height(verdict_row, 20)
    row += 3
    cells: dict[str, str] = {}
    for quantity in (*entry.inputs, *entry.steps):
        cells[quantity.code] = sheet.cell(row, 1).partition("!")[2]
        formula = formulas[quantity.code]
        # Without hauling charges their two cells are absent, and the assumption stands alone.
        if quantity.code == "cost_per_haul" and "charged_hauls" not in cells:
            formula = "=AssumedCostPerHaul"
        _write_quantity(sheet, row, quantity, formula.format(**cells))
        row += 1
    payback = ""
    if "payback" in formulas:
        cells["payback"] = sheet.cell(row, 1).partition("!")[2]
        payback = sheet.cell(row, 1)
        _write_payback(sheet, row, entry, formulas["payback"].format(**cells))
        row += 1
    verdict = formulas["verdict"].format(**cells)
    sheet.formula(verdict_row, 1, verdict, VERDICTS[entry.verdict][0], "bold")
    for note in (*entry.notes, "From " + "; ".join(map(str, entry.rows))):
        sheet.text(row, 0, note[:30_000], "faint")
        row += 1
    net = f"{sheet.name}!{cells['net_savings']}"
    return Advice(entry, sheet.cell(verdict_row, 1), payback, net), row + 1


def _write_quantity(sheet: Sheet, row: int, quantity: Quantity, formula: str) -> None:
    style = format_of(quantity.unit)
    if quantity.code == "net_savings":
        style = "usd_bold"
    sheet.text(row, 0, quantity.label, "bold" if style == "usd_bold" else "text")
    sheet.formula(row, 1, formula, quantity.value, style)
    sheet.text(row, 2, unit_label(quantity.unit), "unit")
    words = "; ".join(part for part in (quantity.formula, quantity.note) if part)
    sheet.text(row, 3, words, "faint")


def _write_payback(sheet: Sheet, row: int, entry: Recommendation, formula: str) -> None:
    sheet.text(row, 0, "Payback")
    value = NO_PAYBACK if entry.payback_months is None else entry.payback_months
    sheet.formula(row, 1, formula, value, "number")
    sheet.text(row, 2, "months", "unit")
    sheet.text(row, 3, "installation / (net savings / 12)", "faint")


def _write_omissions(sheet: Sheet, row: int, omissions: tuple[Omission, ...]) -> None:
    if omissions:
        sheet.text(row, 0, "Not recommended at present", "heading")
    for at, omission in enumerate(omissions, row + 1):
        sheet.text(at, 0, omission.title)
        sheet.text(at, 1, omission.reason, "faint")
