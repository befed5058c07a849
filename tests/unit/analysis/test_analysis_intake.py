from datetime import date
from decimal import Decimal

import pytest

from tests.unit.analysis.factories import (
    HAUL_HEADER,
    INVOICE_HEADER,
    haul_csv,
    invoice_csv,
    lines_of,
    workbook,
)
from wastewise_jobs.analysis import (
    NoDataError,
    Notice,
    Problem,
    SourceFile,
    UnreadableFilesError,
    extract,
    recognise,
)

ROW = "INV-1,2024-02-01,2024-01-01,2024-01-31,Acme,Hauling,Compactor haul,250.00"


def codes(warnings: tuple[Notice, ...]) -> set[str]:
    return {warning.code for warning in warnings}


def problems_of(*files: SourceFile) -> list[Problem]:
    with pytest.raises(UnreadableFilesError) as caught:
        extract(files)
    return list(caught.value.problems)


def test_a_plain_file_is_read_without_a_warning() -> None:
    extraction = extract([invoice_csv(ROW)])
    (line,) = extraction.invoice_lines
    assert (line.invoice_number, line.vendor, line.amount) == ("INV-1", "Acme", Decimal("250.00"))
    assert (line.period_start, line.period_end) == (date(2024, 1, 1), date(2024, 1, 31))
    assert line.category == "hauling"
    assert (line.place.file, line.place.sheet, line.place.row) == ("invoices.csv", None, 2)
    assert extraction.warnings == ()


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("AMOUNT,invoice date,Vendor,SERVICE TYPE", '"$1,250.00",01/31/2024,Acme,Hauling'),
        ("Vendor;Bill Date;Charge;Service", "Acme;1/31/2024;1.250,00;Hauling"),
        ("Hauler\tDate\tTotal\tDescription", "Acme\t2024-01-31\t1250\tHauling"),
        ("PO,Inv #,Service Date,Vendor,Memo,Line Total", "x,7,1/31/24,Acme,Hauling,1250.00"),
        ("Supplier|Billing Period|Line Item|Cost", "Acme|01/01/2024 - 01/31/2024|Haul|1250"),
    ],
)
def test_columns_are_known_by_synonyms_in_any_order_and_separator(header: str, row: str) -> None:
    (line,) = lines_of(invoice_csv(row, header=header))
    assert line.amount == 1250
    assert line.vendor == "Acme"
    assert line.category == "hauling"
    assert line.covers == (date(2024, 1, 1), date(2024, 1, 31))


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Service Date,Tonnage", "01/05/2024,5.25"),
        ("Date;Weight (tons);Driver", "2024-01-05;5,25;Al"),
        ("Pickup Date,Weight (lbs),Container", '1/5/2024,"10,500",Compactor'),
        ("date,time,CONTAINER TYPE,TONS,location,notes", "2024-01-05,8:00,Compactor,5.25,X,"),
        ("Ticket,Haul Date,Net Tons", "77,1/5/24,5.25"),
    ],
)
def test_a_haul_log_is_known_by_synonyms_and_pounds_become_tons(header: str, row: str) -> None:
    (haul,) = extract([haul_csv(row, header=header)]).hauls
    assert (haul.day, haul.tons) == (date(2024, 1, 5), Decimal("5.25"))


def test_a_weight_without_a_unit_is_taken_by_its_size_and_said_so() -> None:
    pounds = extract([haul_csv("2024-01-05,10400", "2024-01-12,11000", header="Date,Weight")])
    tons = extract([haul_csv("2024-01-05,5.2", "2024-01-12,5.5", header="Date,Weight")])
    assert [haul.tons for haul in pounds.hauls] == [Decimal("5.2"), Decimal("5.5")]
    assert [haul.tons for haul in tons.hauls] == [Decimal("5.2"), Decimal("5.5")]
    assert codes(pounds.warnings) == codes(tons.warnings) == {"weight_unit"}


def test_the_header_may_come_below_a_title_and_again_on_each_page() -> None:
    text = f"Acme export\nAccount 12,,,\n\n{INVOICE_HEADER}\n{ROW}\n{INVOICE_HEADER}\n{ROW}\n"
    extraction = extract([SourceFile("a.csv", text.encode())])
    assert [line.place.row for line in extraction.invoice_lines] == [5, 7]
    assert extraction.files[0].header_row == 4
    assert ("repeated header", "6") in extraction.files[0].skipped


def test_bom_crlf_and_quoted_line_breaks_do_not_shift_rows() -> None:
    broken = ROW.replace("Compactor haul", '"Compactor\r\nhaul"')
    text = f"\ufeff{INVOICE_HEADER}\r\n{broken}\r\n\r\n{ROW}\r\n"
    lines = lines_of(SourceFile("a.csv", text.encode()))
    assert [line.place.row for line in lines] == [2, 4]
    assert lines[0].description == "Compactor haul"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_recognised_and_windows_text_is_said_so(encoding: str) -> None:
    content = f"{INVOICE_HEADER}\n{ROW.replace('Acme', 'Café')}\n".encode(encoding)
    extraction = extract([SourceFile("a.csv", content)])
    assert extraction.invoice_lines[0].vendor == "Café"
    assert codes(extraction.warnings) == ({"encoding"} if encoding == "cp1252" else set())


def test_excels_separator_hint_is_followed() -> None:
    text = f"sep=;\n{INVOICE_HEADER.replace(',', ';')}\n{ROW.replace(',', ';')}\n"
    (line,) = lines_of(SourceFile("a.csv", text.encode()))
    assert line.place.row == 3


def test_payments_and_balances_are_no_charges_but_credits_are() -> None:
    extraction = extract(
        [
            invoice_csv(
                ROW,
                "INV-1,2024-02-01,,,Acme,Payment,Payment received - thank you,(250.00)",
                "INV-1,2024-02-01,,,Acme,,Previous balance,900.00",
                "INV-1,2024-02-01,,,Acme,Hauling,Credit missed pickup,(50.00)",
                "INV-1,2024-02-01,,,Acme,Fees,Late payment fee,15.00",
            )
        ]
    )
    assert [line.amount for line in extraction.invoice_lines] == [250, -50, 15]
    assert codes(extraction.warnings) == {"payment_rows_skipped"}


def test_blank_cells_below_the_first_line_of_an_invoice_mean_as_above() -> None:
    first, second = lines_of(invoice_csv(ROW, ",,,,,Fees,Fuel surcharge,12.00"))
    assert second.invoice_number == "INV-1"
    assert second.vendor == "Acme"
    assert second.covers == first.covers


def test_a_new_invoice_without_a_date_is_not_guessed() -> None:
    (problem,) = problems_of(invoice_csv(ROW, "INV-2,,,,Acme,Fees,Fuel,12.00"))
    assert (problem.row, problem.column) == (3, "Invoice Date")


def test_odd_periods_fall_back_to_the_invoice_month_and_are_said_so() -> None:
    extraction = extract(
        [
            invoice_csv(
                "A,2024-02-05,2024-01-31,2024-01-01,Acme,Hauling,,1.00",
                "B,2024-02-05,2024-01-31,,Acme,Hauling,,1.00",
                "C,2024-02-05,2022-01-31,2024-01-01,Acme,Hauling,,1.00",
            )
        ]
    )
    reversed_, half, long = extraction.invoice_lines
    assert reversed_.covers == half.covers == (date(2024, 2, 1), date(2024, 2, 29))
    assert long.covers == (date(2022, 1, 31), date(2024, 1, 1))
    assert codes(extraction.warnings) == {
        "reversed_period",
        "half_period",
        "long_period",
        "period_reaches_out",
    }


def test_an_unreadable_cell_names_file_sheet_row_and_column() -> None:
    rows = [INVOICE_HEADER.split(","), [*ROW.split(",")[:-1], "n/a"]]
    file = SourceFile("march.xlsx", workbook(("Sheet A", rows)))
    (problem,) = problems_of(file)
    assert (
        str(problem) == 'march.xlsx, sheet "Sheet A", row 2, column "Amount": "n/a" is not a number'
    )


def test_every_unreadable_cell_of_every_file_is_reported_at_once() -> None:
    found = problems_of(
        invoice_csv(ROW, ROW.replace("250.00", "x"), ROW.replace("2024-02-01", "31/12/2024")),
        haul_csv("2024-01-05,,,heavy,,", "soon,,,5.2,,"),
        SourceFile("scan.pdf", b"%PDF-1.7"),
    )
    assert [(p.file, p.row, p.column) for p in found] == [
        ("invoices.csv", 3, "Amount"),
        ("invoices.csv", 4, "Invoice Date"),
        ("hauls.csv", 2, "Tons"),
        ("hauls.csv", 3, "Date"),
        ("scan.pdf", None, None),
    ]


@pytest.mark.parametrize("tons", ["", "-5.2", "nan", "10400", "5.2 lb"])
def test_a_haul_whose_weight_cannot_be_true_is_refused(tons: str) -> None:
    (problem,) = problems_of(haul_csv("2024-01-05,,,5.2,,", f"2024-01-12,8:00,Compactor,{tons},,"))
    assert (problem.file, problem.row, problem.column) == ("hauls.csv", 3, "Tons")


@pytest.mark.parametrize("amount", ["", "abc", "NaN", "inf", "1e400", "99999999999"])
def test_a_charge_whose_amount_cannot_be_read_is_refused(amount: str) -> None:
    (problem,) = problems_of(invoice_csv(ROW, ROW.replace("250.00", amount)))
    assert (problem.row, problem.column) == (3, "Amount")


def test_problems_are_capped_but_counted() -> None:
    with pytest.raises(UnreadableFilesError) as caught:
        extract([invoice_csv(*[ROW.replace("250.00", "x")] * 70)])
    assert len(caught.value.problems) == 50
    assert caught.value.details["problemCount"] == 70


def test_odd_weights_are_counted_and_named() -> None:
    extraction = extract([haul_csv("2024-01-05,,,5.2,,", "2024-01-12,,,1.5,,", "2024-01-19,,,0,,")])
    assert len(extraction.hauls) == 3
    assert {(w.code, w.rows[0].rows) for w in extraction.warnings} == {
        ("unusual_tons", "3"),
        ("empty_haul", "4"),
    }


def test_a_workbook_is_read_from_all_visible_sheets_with_dates_floats_and_formulas() -> None:
    header = INVOICE_HEADER.split(",")
    january = [None, "Acme"]
    row = ["INV-1", date(2024, 2, 1), date(2024, 1, 1), date(2024, 1, 31), "Acme", "Hauling",
           "Haul"]  # fmt: skip
    content = workbook(
        ("January", [january, header, [*row, 0.1 + 0.2], [*row, ("=H3*2", 0.6)]]),
        ("Old", [header, [*row, 999]]),
        ("Hauls", [HAUL_HEADER.split(","), [date(2024, 1, 5), None, "Compactor", 5.25]]),
        ("Notes", [["remember the milk"]]),
        ("Empty", []),
        hidden="Old",
    )
    extraction = extract([SourceFile("book.xlsx", content)])
    assert [line.amount for line in extraction.invoice_lines] == [Decimal("0.3"), Decimal("0.6")]
    assert [(line.place.sheet, line.place.row) for line in extraction.invoice_lines] == [
        ("January", 3),
        ("January", 4),
    ]
    assert [haul.tons for haul in extraction.hauls] == [Decimal("5.25")]
    assert {(w.code, w.rows[0].sheet) for w in extraction.warnings} == {
        ("hidden_sheet", "Old"),
        ("sheet_not_read", "Notes"),
    }


def test_a_formula_that_was_never_calculated_is_refused_as_such() -> None:
    rows = [INVOICE_HEADER.split(","), [*ROW.split(",")[:-1], ("=1/0", "#DIV/0!")]]
    (problem,) = problems_of(SourceFile("a.xlsx", workbook(("S", rows))))
    assert "formula" in problem.problem
    assert problem.column == "Amount"


def test_dates_kept_as_numbers_are_read_and_said_so() -> None:
    rows = [HAUL_HEADER.split(","), [45296, None, "Compactor", 5.25]]
    extraction = extract([SourceFile("a.xlsx", workbook(("S", rows)))])
    assert extraction.hauls[0].day == date(2024, 1, 5)
    assert codes(extraction.warnings) == {"date_as_number"}
    from_csv = extract([haul_csv("45296,,Compactor,5.25,,", "45303.5,,Compactor,5.25,,")])
    assert [haul.day for haul in from_csv.hauls] == [date(2024, 1, 5), date(2024, 1, 12)]
    assert codes(from_csv.warnings) == {"date_as_number"}


def test_files_are_recognised_by_their_header() -> None:
    assert recognise("a.csv", invoice_csv(ROW).content) == "invoice"
    assert recognise("a.csv", haul_csv().content) == "haul_log"
    assert recognise("a.xlsx", workbook(("S", [HAUL_HEADER.split(",")]))) == "haul_log"
    per_haul_bill = b"Invoice Number,Invoice Date,Vendor,Description,Tons,Amount\n"
    assert recognise("a.csv", per_haul_bill) == "invoice"
    for content in (b"", b"hello", b"%PDF", b"PK\x03\x04", b"\x00\x01", b"Date,Amount\n1,2"):
        assert recognise("a", content) is None


def test_the_given_file_type_overrides_the_header() -> None:
    text = "Date,Tons,Description,Amount\n2024-01-05,5.2,Haul,250\n"
    as_log = extract([SourceFile("a.csv", text.encode(), "haul_log")])
    as_invoice = extract([SourceFile("a.csv", text.encode(), "invoice")])
    assert (len(as_log.hauls), len(as_log.invoice_lines)) == (1, 0)
    assert (len(as_invoice.hauls), len(as_invoice.invoice_lines)) == (0, 1)


def test_an_override_that_the_file_cannot_bear_is_refused() -> None:
    file = SourceFile("a.csv", invoice_csv(ROW).content, "haul_log")
    (problem,) = problems_of(file)
    assert problem.file == "a.csv"
    assert problem.problem.startswith("was given as a haul log, but none of its first 30 rows")
    assert "says: Invoice Number, Invoice Date" in problem.problem


def test_a_file_without_a_known_header_says_what_is_wanted_and_what_was_seen() -> None:
    (problem,) = problems_of(SourceFile("b.csv", b"Contacts\nName,Phone\nAl,1\n"))
    assert (problem.file, problem.row) == ("b.csv", None)
    assert "columns of an invoice (an amount" in problem.problem
    assert "or of a haul log (a date" in problem.problem
    assert problem.problem.endswith("the nearest row says: Name, Phone")
    (problem,) = problems_of(SourceFile("b.xlsx", b"Name,Phone\nAl,1\n"))
    assert problem.problem.endswith("its name is that of a workbook, its content is text")


def test_empty_files_are_refused_and_bare_headers_hold_no_data() -> None:
    assert problems_of(SourceFile("e.csv", b"\n "))[0].problem == "is empty"
    with pytest.raises(NoDataError, match=r"invoices\.csv: holds no charge line below") as caught:
        extract([invoice_csv(), haul_csv()])
    assert [problem.file for problem in caught.value.problems] == ["invoices.csv", "hauls.csv"]
    with pytest.raises(NoDataError, match="no file"):
        extract([])
    extraction = extract([invoice_csv(ROW), haul_csv()])
    assert codes(extraction.warnings) == {"no_rows"}


def test_the_same_content_under_two_names_counts_once() -> None:
    extraction = extract([invoice_csv(ROW), invoice_csv(ROW, name="copy.csv")])
    assert len(extraction.invoice_lines) == 1
    assert codes(extraction.warnings) == {"same_file_twice"}


def test_a_line_in_two_files_is_counted_once_and_said_so() -> None:
    extraction = extract(
        [invoice_csv(ROW), invoice_csv(ROW, ROW.replace("250", "1"), name="b.csv")]
    )
    assert [line.amount for line in extraction.invoice_lines] == [250, 1]
    (warning,) = extraction.warnings
    assert (warning.code, warning.rows[0].file, warning.rows[0].rows) == (
        "line_in_two_files",
        "b.csv",
        "2",
    )


def test_two_columns_that_could_be_the_amount_are_resolved_and_said_so() -> None:
    header = "Invoice Date,Vendor,Description,Total,Amount,Tax"
    extraction = extract([invoice_csv("2024-01-31,Acme,Haul,11,10,1", header=header)])
    assert extraction.invoice_lines[0].amount == 10
    assert codes(extraction.warnings) == {"amount_column_chosen"}
