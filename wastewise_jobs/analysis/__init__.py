"""The WasteWise work itself: what a property pays for waste collection, and what it could save.

    files ─ extract ─▶ Extraction ─ analyse ─▶ Analysis ─ render_html, render_xlsx ─▶ reports
                           │                       │
                        rows()                 to_json()          stored, and read back by
                           └────────── from_rows, from_json ◀──── report_generation

Pure arithmetic over bytes: no clock, no network, no database, and nothing here knows what a job is.
Every value can be pickled, so the work can be done in a process pool. The same stored rows and the
same stored analysis give the same HTML, byte for byte, and a workbook with the same cells.

Money and weights are Decimal or exact fractions throughout; rounding happens in `display` alone.
"""

from wastewise_jobs.analysis.choices import LONGEST_LOCATION, Choices
from wastewise_jobs.analysis.errors import (
    AnalysisError,
    InvalidPropertyError,
    NoDataError,
    Problem,
    UnknownLocationError,
    UnreadableFilesError,
)
from wastewise_jobs.analysis.extraction import Extraction
from wastewise_jobs.analysis.intake import extract, recognise
from wastewise_jobs.analysis.model import (
    EQUIPMENT_TYPES,
    HAUL_LOG,
    INVOICE,
    PROPERTY_TYPES,
    Category,
    Haul,
    InvoiceLine,
    Notice,
    PropertyFacts,
    SourceFile,
)
from wastewise_jobs.analysis.reports import render_html, render_xlsx
from wastewise_jobs.analysis.result import STEPS, Analysis, analyse

__all__ = [
    "EQUIPMENT_TYPES",
    "HAUL_LOG",
    "INVOICE",
    "LONGEST_LOCATION",
    "PROPERTY_TYPES",
    "STEPS",
    "Analysis",
    "AnalysisError",
    "Category",
    "Choices",
    "Extraction",
    "Haul",
    "InvalidPropertyError",
    "InvoiceLine",
    "NoDataError",
    "Notice",
    "Problem",
    "PropertyFacts",
    "SourceFile",
    "UnknownLocationError",
    "UnreadableFilesError",
    "analyse",
    "extract",
    "recognise",
    "render_html",
    "render_xlsx",
]
