"""The sheet of notes: warnings, and what was read from each file."""

from wastewise_jobs.analysis.reports.workbook.book import Sheet
from wastewise_jobs.analysis.result import Analysis

LONGEST_CELL = 30_000


def write_notes(sheet: Sheet, analysis: Analysis) -> None:
    sheet.widths(34, 18, 12, 10, 60, 60)
    sheet.printed()
    row = 0
    if analysis.lease_up:
        sheet.text(row, 0, analysis.lease_up, "bold")
        row += 2
    sheet.text(row, 0, "Warnings", "heading")
    sheet.height(row, 20)
    for warning in analysis.warnings:
        row += 1
        sheet.text(row, 0, str(warning)[:LONGEST_CELL])
    if not analysis.warnings:
        row += 1
        sheet.text(row, 0, "None", "faint")
    row += 2
    sheet.text(row, 0, "Files", "heading")
    sheet.height(row, 20)
    sheet.header(
        row + 1,
        ["File", "Sheet", "Read as", "Rows", "Columns used", "Left out, totals checked"],
        {3},
    )
    for at, file in enumerate(analysis.files, row + 2):
        sheet.text(at, 0, file.file, "top")
        sheet.text(at, 1, file.sheet or "", "top")
        sheet.text(at, 2, file.file_type.replace("_", " "), "top")
        sheet.number(at, 3, file.rows_read, "whole")
        columns = ", ".join(f"{header} = {name}" for name, header in file.columns)
        sheet.text(at, 4, columns[:LONGEST_CELL], "wrapped")
        left_out = "; ".join(f"{reason}: {rows}" for reason, rows in file.skipped)
        skipped = " ".join(filter(None, [left_out, *file.checks]))
        sheet.text(at, 5, skipped[:LONGEST_CELL], "wrapped")
        sheet.height(at, 15 * min(20, 1 + max(len(columns), len(skipped)) // 55))
