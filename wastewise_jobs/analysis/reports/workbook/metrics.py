"""The sheets of inputs and figures. Change a yellow cell and everything follows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from wastewise_jobs.analysis import benchmarks, measures, recommendations
from wastewise_jobs.analysis.figures import Figure
from wastewise_jobs.analysis.model import PropertyFacts
from wastewise_jobs.analysis.reports.workbook.book import Book, Sheet, format_of, unit_label
from wastewise_jobs.analysis.reports.workbook.months import MonthAddresses
from wastewise_jobs.analysis.reports.workbook.rows import Addresses
from wastewise_jobs.analysis.result import Analysis

LONGEST_ROWS = 30_000


@dataclass(frozen=True, slots=True)
class Input:
    """A number that the formulas use by name."""

    name: str
    label: str
    value: Decimal | int | None


def inputs_of(facts: PropertyFacts) -> tuple[Input, ...]:
    """The property's numbers and the constants; one that is not known is left out."""
    every = (
        Input("Units", "Apartments", facts.units),
        Input("Containers", "Dumpsters", facts.containers),
        Input("ContainerYards", "Cubic yards of each", facts.container_yards),
        Input("PickupsPerWeek", "Pickups per week", facts.pickups_per_week),
        Input("WeeksPerMonth", "Weeks per month", benchmarks.WEEKS_PER_MONTH),
        Input("YardsPerTon", "Cubic yards per ton (138 lb a yard)", benchmarks.YARDS_PER_TON),
        Input("TargetTons", "Target tons per haul", benchmarks.TARGET_TONS_PER_HAUL),
        Input("AssumedCostPerHaul", "Cost per haul where no charge says it",
              measures.ASSUMED_COST_PER_HAUL),
        Input("MonitoringPerMonth", "Compactor monitoring, a month",
              recommendations.MONITORING_A_MONTH),
        Input("InstallationOnce", "Compactor monitoring, installation",
              recommendations.INSTALLATION),
        Input("ContaminationService", "Contamination service, a month",
              recommendations.CONTAMINATION_SERVICE_A_MONTH),
        Input("BulkSubscription", "Bulk subscription, a month",
              recommendations.BULK_SERVICE_A_MONTH),
    )  # fmt: skip
    return tuple(entry for entry in every if entry.value is not None)


def write_inputs(book: Book, sheet: Sheet, facts: PropertyFacts) -> None:
    """Fill the sheet of inputs and name its cells."""
    sheet.header(0, ["Input", "Value", "Name in formulas"], {1})
    sheet.widths(40, 14, 24)
    sheet.printed(landscape=False, header_row=0)
    for row, entry in enumerate(inputs_of(facts), 1):
        sheet.text(row, 0, entry.label)
        style = "whole_input" if isinstance(entry.value, int) else "input"
        sheet.number(row, 1, entry.value or 0, style)
        sheet.text(row, 2, entry.name, "unit")
        book.name(entry.name, sheet.cell(row, 1))


NAMES = {
    "total_spend": "TotalSpend",
    "months": "MonthsCovered",
    "monthly_cost": "MonthlyCost",
    "cost_per_door": "CostPerDoor",
    "yards_per_door": "YardsPerDoor",
    "hauls": "HaulCount",
    "total_tons": "TotalTons",
    "tons_per_haul": "TonsPerHaul",
    "capacity_utilisation": "CapacityUtilisation",
    "days_between_pickups": "DaysBetweenPickups",
    "days_covered": "DaysCovered",
    "annual_hauls": "HaulsPerYear",
    "annual_tons": "TonsPerYear",
}


def formulas_of(facts: PropertyFacts, data: Addresses, months: MonthAddresses) -> Mapping[str, str]:
    """The live formula of each figure."""
    compactor = "TonsPerYear/12*YardsPerTon"
    dumpsters = "Containers*ContainerYards*PickupsPerWeek*WeeksPerMonth"
    yards = {"COMPACTOR": compactor, "DUMPSTER": dumpsters}.get(
        facts.equipment_type or "", f"({compactor}+{dumpsters})"
    )
    return {
        "total_spend": f"=SUM({data.amount})",
        "months": f"=SUMPRODUCT({months.days_covered}/{months.days})",
        "monthly_cost": "=TotalSpend/MonthsCovered",
        "cost_per_door": "=MonthlyCost/Units",
        "yards_per_door": f"={yards}/Units",
        "hauls": f"=COUNT({data.haul_date})",
        "total_tons": f"=SUM({data.haul_tons})",
        "tons_per_haul": "=TotalTons/HaulCount",
        "capacity_utilisation": "=TonsPerHaul/TargetTons*100",
        "days_between_pickups": f"=AVERAGE({data.haul_gap})",
        "days_covered": f"=(MAX({data.haul_date})-MIN({data.haul_date}))*HaulCount/(HaulCount-1)",
        "annual_hauls": "=HaulCount*365/DaysCovered",
        "annual_tons": "=TotalTons*365/DaysCovered",
    }


def _band_formula(figure: Figure, data: Addresses) -> str:
    """The benchmark's word as a formula of the figure's cell; the words are `band_label`'s."""
    high = figure.benchmark.high if figure.benchmark else None
    return {
        "cost_per_door": f'=IF(CostPerDoor<30,"Good",IF(CostPerDoor<={high},"Typical","High"))',
        "yards_per_door": '=IF(YardsPerDoor<1.32,"Lease up",IF(YardsPerDoor<2,"Low",'
        'IF(YardsPerDoor<=2.5,"Normal","High")))',
        "tons_per_haul": '=IF(TonsPerHaul<8,"Light",IF(TonsPerHaul<=9,"On target","Heavy"))',
        "capacity_utilisation": '=IF(CapacityUtilisation>=90,"Excellent",'
        'IF(CapacityUtilisation>=70,"Good",IF(CapacityUtilisation>=50,"Fair","Poor")))',
        "days_between_pickups": f'=IF(MAX({data.haul_gap})>14,"Over maximum",'
        'IF(DaysBetweenPickups<7,"Frequent",IF(DaysBetweenPickups<=10,"Ideal","Infrequent")))',
    }.get(figure.code, "")


def band_label(band: str) -> str:
    """`on_target` as people read it."""
    return band.replace("_", " ").capitalize()


def write_metrics(
    book: Book, sheet: Sheet, analysis: Analysis, data: Addresses, months: MonthAddresses
) -> None:
    """Fill the sheet of figures and name their cells."""
    sheet.header(0, ["Figure", "Value", "Unit", "Rating", "Benchmark", "Calculation", "From"], {1})
    sheet.widths(28, 14, 20, 15, 26, 40, 60)
    sheet.printed(header_row=0)
    # On paper without the source rows, which would make all else too small to read.
    sheet.worksheet.print_area(0, 0, len(analysis.figures), 5)
    formulas = formulas_of(analysis.facts, data, months)
    for row, figure in enumerate(analysis.figures, 1):
        unit = figure.result.unit
        sheet.text(row, 0, figure.result.label, "top")
        sheet.formula(row, 1, formulas[figure.code], figure.value, format_of(unit))
        sheet.text(row, 2, unit_label(unit), "unit")
        if figure.band and (band := _band_formula(figure, data)):
            sheet.formula(row, 3, band, band_label(figure.band), "bold")
        elif figure.benchmark:
            sheet.text(row, 3, "No verdict", "top")
        sheet.text(row, 4, figure.benchmark.text if figure.benchmark else "", "wrapped")
        sheet.text(row, 5, figure.result.formula, "wrapped")
        rows = "; ".join(map(str, figure.rows))
        sheet.text(row, 6, rows[:LONGEST_ROWS], "faint_top")
        benchmark = figure.benchmark.text if figure.benchmark else ""
        lines = max(math.ceil(len(benchmark) / 24), math.ceil(len(figure.result.formula) / 38))
        sheet.height(row, 15 * max(1, lines))
        book.name(NAMES[figure.code], sheet.cell(row, 1))
