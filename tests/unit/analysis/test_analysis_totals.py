import pytest

from tests.unit.analysis.factories import haul_csv, invoice_csv, lines_of
from wastewise_jobs.analysis import Notice, Problem, SourceFile, UnreadableFilesError, extract

ROW = "INV-1,2024-02-01,2024-01-01,2024-01-31,Acme,Hauling,Compactor haul,250.00"


def codes(warnings: tuple[Notice, ...]) -> set[str]:
    return {warning.code for warning in warnings}


def problems_of(*files: SourceFile) -> list[Problem]:
    with pytest.raises(UnreadableFilesError) as caught:
        extract(files)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    "total",
    [
        ",,,,,,Total,500.00",
        "Total,,,,,,,500.00",
        ",,,,,,Invoice Total:,500.00",
        "Grand total for INV-1,,,,,,,500.00",
        "INV-1,2024-02-01,,,Acme,,Subtotal,500.00",
        ",,,,,,,500.00",
    ],
)
def test_total_rows_are_left_out_and_named(total: str) -> None:
    extraction = extract([invoice_csv(ROW, "", ROW, total)])
    assert sum(line.amount for line in extraction.invoice_lines) == 500
    (warning,) = extraction.warnings
    assert warning.code == "total_rows_skipped"
    assert warning.rows[0].rows == "5"
    assert ("blank", "3") in extraction.files[0].skipped


def test_a_dated_charge_that_only_begins_like_a_total_is_a_charge() -> None:
    for words in ("Total of 3 pickups", "Sum of services", "Total environmental fee"):
        (line,) = lines_of(invoice_csv(ROW.replace("Compactor haul", words)))
        assert line.description == words


@pytest.mark.parametrize("label", ["Total", "Grand Total:", "Average", "Jan total", "2024 Totals"])
@pytest.mark.parametrize("column", range(7))
def test_the_label_of_a_total_of_charges_may_stand_in_any_column(label: str, column: int) -> None:
    cells = ["", "", "", "", "", "", "", "500.00"]
    cells[column] = label
    extraction = extract([invoice_csv(ROW, ROW, ",".join(cells), ROW)])
    assert [line.place.row for line in extraction.invoice_lines] == [2, 3, 5]
    assert codes(extraction.warnings) == {"total_rows_skipped"}


@pytest.mark.parametrize("label", ["Total", "Grand Total:", "Average", "Jan total", "2024 Totals"])
@pytest.mark.parametrize("column", [0, 1, 2, 4, 5])
def test_the_label_of_a_total_of_hauls_may_stand_in_any_column(label: str, column: int) -> None:
    cells = ["", "", "", "10.4", "", ""]
    cells[column] = label
    haul = "2024-01-05,8:00,Compactor,5.2,Landfill,"
    extraction = extract([haul_csv(haul, haul, ",".join(cells), haul)])
    assert [haul.place.row for haul in extraction.hauls] == [2, 3, 5]
    assert "total_rows_skipped" in codes(extraction.warnings)


@pytest.mark.parametrize(
    "total",
    [
        "Max,,,5.2,,",
        "2024-01-31,,Total,10.4,,",
        "2024-01-31,,,10.4,,Monthly total:",
        ",,,10.4,,",
        ",,,10,,",
    ],
)
def test_a_total_of_hauls_is_known_by_a_label_beside_its_date_or_by_its_sum(total: str) -> None:
    hauls = ["2024-01-05,8:00,Compactor,5.2,A,", "2024-01-12,8:00,Compactor,5.2,A,"]
    extraction = extract([haul_csv(*hauls, total)])
    assert len(extraction.hauls) == 2
    assert codes(extraction.warnings) == {"total_rows_skipped"}


def test_a_weight_that_stands_alone_and_is_no_total_is_refused() -> None:
    (problem,) = problems_of(haul_csv("2024-01-05,,,5.2,,", ",,,5.3,,"))
    assert (problem.row, problem.column) == (3, "Tons")


def test_subtotals_that_a_spreadsheet_puts_below_its_groups_are_left_out() -> None:
    extraction = extract(
        [
            invoice_csv(
                ROW,
                "INV-1 Total,,,,,,,250.00",
                ROW,
                ",,,,Acme Total,,,500",
                ",,,,,,Sum of Amount,500",
            )
        ]
    )
    assert [line.place.row for line in extraction.invoice_lines] == [2, 4]
    assert extraction.warnings[0].rows[0].rows == "3, 5-6"


def test_a_footer_of_words_in_the_date_column_is_no_haul_but_a_lone_date_is_one() -> None:
    extraction = extract([haul_csv("2024-01-05,,,5.2,,", "Printed by the portal,,,,,")])
    assert codes(extraction.warnings) == {"note_rows_skipped"}
    (problem,) = problems_of(haul_csv("2024-01-05,,,5.2,,", "2024-01-12,,,,,"))
    assert (problem.row, problem.column) == (3, "Tons")


def test_a_vendor_called_total_is_no_total_row() -> None:
    for name in ("Total Waste Solutions", "Total"):
        (line,) = lines_of(invoice_csv(ROW.replace("Acme", name)))
        assert line.vendor == name


def test_an_amount_that_stands_alone_and_is_no_total_is_refused() -> None:
    (problem,) = problems_of(invoice_csv(ROW, ",,,,,,,77.00"))
    assert (problem.row, problem.column) == (3, "Amount")
