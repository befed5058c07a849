"""A plausible property with a year of untidy exports, for the demo and for tests.

Willow Creek Apartments: charges of two vendors (a semicolon CSV with a title, totals and a payment;
a workbook with two tables, formulas and a summary sheet) and a compactor log of 80 hauls.
"""

import json
from importlib.resources import files

from wastewise_jobs.analysis.model import HAUL_LOG, INVOICE, PropertyFacts, SourceFile

_FILES = {
    "lone-star-invoices-2025.csv": INVOICE,
    "greencycle-charges-2025.xlsx": INVOICE,
    "compactor-hauls-2025.csv": HAUL_LOG,
}


def sample_property() -> PropertyFacts:
    text = files(__name__).joinpath("property.json").read_text(encoding="utf-8")
    return PropertyFacts.from_json(json.loads(text))


def sample_files() -> list[SourceFile]:
    """Its invoices and its haul log, as a manager would upload them."""
    folder = files(__name__)
    return [
        SourceFile(name, folder.joinpath(name).read_bytes(), file_type)
        for name, file_type in _FILES.items()
    ]
