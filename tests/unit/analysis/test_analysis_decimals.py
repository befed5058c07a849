"""What the separator of a text file says about the numbers in it."""

import pytest

from wastewise_jobs.analysis.intake.decimals import is_decimal_comma
from wastewise_jobs.analysis.intake.headers import find_layout
from wastewise_jobs.analysis.intake.rowreader import RowReader
from wastewise_jobs.analysis.intake.tables import Notebook, Table

HEADER = ["Invoice Number", "Invoice Date", "Vendor", "Amount"]


@pytest.mark.parametrize(
    ("separator", "amounts", "mark", "codes"),
    [
        (";", ["1.250", "980"], ",", {"decimal_mark_ambiguous", "european_numbers"}),
        (None, ["1.250", "980"], ",", {"decimal_mark_ambiguous", "european_numbers"}),
        (",", ["33.333", "66.667"], ".", {"decimal_mark_ambiguous"}),
        ("\t", ["33.333", "66.667"], ".", {"decimal_mark_ambiguous"}),
        (";", ["1,250", "980"], ".", {"decimal_mark_ambiguous"}),
        (",", ["1,250", "980"], ".", set()),
        (";", ["1,250", "980.50"], ".", set()),
        (",", ["1.250", "980.50"], ".", set()),
    ],
)
def test_three_places_are_a_group_unless_the_separator_speaks_against_it(
    separator: str | None, amounts: list[str], mark: str, codes: set[str]
) -> None:
    rows = [HEADER, *(["A", "2025-01-28", "Acme", amount] for amount in amounts)]
    layout, notebook = find_layout(rows), Notebook()
    assert layout is not None
    reader = RowReader(Table("a.csv", None, rows, separator=separator), layout, notebook)
    assert is_decimal_comma(reader, "amount") is (mark == ",")
    assert {notice.code for notice in notebook.notices()} == codes
