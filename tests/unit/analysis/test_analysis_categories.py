import pytest

from wastewise_jobs.analysis import Category
from wastewise_jobs.analysis.categories import category_of


@pytest.mark.parametrize(
    ("service_type", "description", "category"),
    [
        ("Hauling", "Contaminated load fee", "contamination"),
        ("Recycling", "CONTAMINATION", "contamination"),
        ("Hauling", "Bulk item pickup", "bulk"),
        ("", "Bulky waste", "bulk"),
        ("Overage", "Extra yard fee", "overage"),
        ("Hauling", "Overfilled container", "overage"),
        ("Hauling", "Fuel surcharge", "fees"),
        ("", "Environmental fee", "fees"),
        ("", "Administrative charge", "fees"),
        ("Fees", "Late fee", "fees"),
        ("", "Regulatory cost recovery", "fees"),
        ("Equipment", "Compactor rental", "rental"),
        ("", "Rental fee", "rental"),
        ("Disposal", "Landfill tonnage", "disposal"),
        ("", "Tipping fee", "disposal"),
        ("Hauling", "Compactor haul incl. disposal", "disposal"),
        ("Hauling", "Compactor pull", "hauling"),
        ("", "Haul fee", "hauling"),
        ("Trash", "4 x 8 yd, 3x per week", "hauling"),
        ("", "Dumpster service", "hauling"),
        ("Repair", "Hydraulic hose", "other"),
        ("", "Current charges", "other"),
        ("", "", "other"),
    ],
)
def test_a_charge_is_of_the_first_category_that_fits(
    service_type: str, description: str, category: str
) -> None:
    assert category_of(service_type, description) == Category(category)


def test_a_dumpster_is_not_dumping_and_current_is_no_rent() -> None:
    assert category_of("Dumpster", "4 yd") is not Category.DISPOSAL
    assert category_of("", "Current period adjustment") is Category.OTHER
