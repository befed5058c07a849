"""Reads XLSX without letting a file choose how much memory or time that takes.

    archive ─ parts, relationships ─▶ book ─ sheets ─▶ sheet ─ strings, styles ─▶ rows of cells

Parts are inflated a piece at a time and pulled through expat; one `Budget` counts bytes, elements,
cells and characters over all parts of a workbook and refuses before anything large is held. What a
cell says beside its value is kept: hidden and folded rows, hidden columns, formulas that were never
calculated, the year from which dates count.
"""

from wastewise_jobs.analysis.intake.xlsx.book import Book, Sheet
from wastewise_jobs.analysis.intake.xlsx.budget import Budget

__all__ = ["Book", "Budget", "Sheet"]
