"""XLSX beside its cells: what a workbook may cost, and that what a library reads is read too."""

import io
import tracemalloc
import zipfile
from datetime import date
from typing import Any

import pytest
import xlsxwriter
from python_calamine import load_workbook

from tests.unit.analysis.factories import HAUL_HEADER, INVOICE_HEADER, haul_csv, workbook
from tests.unit.analysis.test_analysis_hostile import SHEET, rebuilt, sheet_with
from wastewise_jobs.analysis import SourceFile, UnreadableFilesError, extract, recognise
from wastewise_jobs.analysis.intake.tables import Notebook
from wastewise_jobs.analysis.intake.workbook import read_workbook
from wastewise_jobs.analysis.intake.xlsx import Book, Budget

FORMATS = (
    "General", "0.00", "m/d/yyyy", "h:mm", "[h]:mm", "[$-409]d-mmm-yy;@", "$#,##0.00_);[Red]($0)",
    "yyyy-mm-dd hh:mm:ss", "0.00E+00", '"day" 0', "[Red]0", '#,##0 "yd"', "mmm-yy", "@",
    "dd\\.mm\\.yyyy", "[ss].00", "AM/PM h", "_(* #,##0.00_)", "# ?/?", "0%", "mmss.0",
)  # fmt: skip
VALUES = (0.25, 45296, 45296.5, 45296.123456, 61, -12.5)


def formatted() -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as book:
        sheet = book.add_worksheet("Formats")
        for row, code in enumerate(FORMATS):
            sheet.write_string(row, 0, code)
            for column, value in enumerate(VALUES[: 5 if code == "h:mm" else 6], 1):
                shown = book.add_format({"num_format": code})
                if value > 0 or not any(letter in code for letter in "ymdhs"):
                    sheet.write_number(row, column, value, shown)
        for column in range(50):
            sheet.write_number(40, column, 45296, book.add_format({"num_format": column}))
        bold = book.add_format({"bold": True})
        sheet.write_rich_string(41, 0, "plain ", bold, "bold", " & <plain>")
        sheet.write_string(41, 1, "_x0041_ \x07 two\nlines  é")
        sheet.write_boolean(41, 2, True)
        sheet.write_formula(41, 3, "=A1", None, "text")
        sheet.write_formula(41, 4, "=A1", None, 0.1 + 0.2)
    return buffer.getvalue()


def without_ends(rows: Any) -> list[list[Any]]:
    """The rows without the blanks behind their last value, which the two readers keep or not."""
    kept = [[None if cell == "" else cell for cell in row] for row in rows]
    for row in kept:
        while row and row[-1] is None:
            row.pop()
    return kept


def test_what_a_library_reads_of_an_ordinary_workbook_is_read_too() -> None:
    content = formatted()
    (table,) = read_workbook("a.xlsx", content, Notebook())
    theirs = load_workbook(io.BytesIO(content)).get_sheet_by_index(0)
    expected = without_ends(theirs.to_python(skip_empty_area=False))
    assert without_ends(table.rows) == expected
    types = [[type(cell) for cell in row] for row in without_ends(table.rows)]
    assert types == [[type(cell) for cell in row] for row in expected]


def test_far_cells_on_a_hundred_sheets_take_neither_memory_nor_a_second_look() -> None:
    far = sheet_with(
        '<row r="1"><c r="A1"><v>1</v></c></row><row r="199999"><c r="XFD199999"><v>1</v></c></row>'
    )
    sheets = [(f"S{number}", [[1]]) for number in range(100)]
    content = rebuilt(
        {f"xl/worksheets/sheet{number}.xml": far for number in range(1, 101)}, workbook(*sheets)
    )
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableFilesError, match="row 199999, column 16384"):
            extract([SourceFile("far.xlsx", content)])
        assert recognise("far.xlsx", content) is None
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_formatted_cells_are_not_held_and_their_elements_are_counted() -> None:
    empty = "<row>" + '<c s="1"/>' * 200 + "</row>"
    content = rebuilt({SHEET: sheet_with(empty * 200)})
    (sheet,) = Book(content, Budget("a.xlsx")).sheets()
    book = Book(content, Budget("a.xlsx"))
    book.read_styles()
    assert book.read(sheet).rows == []
    tight = Book(content, Budget("a.xlsx", most_elements=10_000))
    with pytest.raises(UnreadableFilesError, match="XML elements; delete the formatted empty rows"):
        tight.read_first(sheet, 1_000_000)


def test_bytes_are_counted_as_they_are_inflated_over_all_parts() -> None:
    content = rebuilt({SHEET: sheet_with("<row/>") + b" " * 3_000_000})
    book = Book(content, Budget("a.xlsx", most_bytes=2 * 2**20))
    (sheet,) = book.sheets()
    with pytest.raises(UnreadableFilesError, match="unpacks to more than 2 MiB; split it"):
        book.read_first(sheet, 10)


def test_the_cells_of_all_sheets_are_counted_together() -> None:
    wide = sheet_with('<row r="1500"><c r="ALL1500"><v>1</v></c></row>')
    names = {f"xl/worksheets/sheet{number}.xml": wide for number in (1, 2, 3)}
    content = rebuilt(names, workbook(("A", [[1]]), ("B", [[1]]), ("C", [[1]])))
    with pytest.raises(UnreadableFilesError, match=r'sheet "C".*all sheets may span together'):
        extract([SourceFile("a.xlsx", content)])


def test_recognition_reads_the_first_rows_alone() -> None:
    header = INVOICE_HEADER.split(",")
    rows = [header, *([f"INV-{n}", "2025-01-28", *["text"] * 6] for n in range(5_000))]
    whole = workbook(("S", rows))
    sheet = zipfile.ZipFile(io.BytesIO(whole)).read(SHEET)
    broken = rebuilt({SHEET: sheet[: len(sheet) // 2] + b"</broken>"}, whole)
    assert recognise("a.xlsx", broken) == "invoice"
    with pytest.raises(UnreadableFilesError):
        extract([SourceFile("a.xlsx", broken)])
    strings = zipfile.ZipFile(io.BytesIO(whole)).read("xl/sharedStrings.xml")
    parts = {"xl/sharedStrings.xml": strings[: len(strings) - 200] + b"</broken>"}
    assert recognise("a.xlsx", rebuilt(parts, whole)) == "invoice"


def test_a_long_text_file_is_recognised_by_its_first_rows() -> None:
    rows = [f"2025-01-{n % 28 + 1:02},,Compactor,5.5,,{n}" for n in range(20_000)]
    content = haul_csv(*rows).content
    assert recognise("hauls.csv", content + b'\x00"') == "haul_log"
    assert recognise("hauls.csv", content.decode().encode("utf-16")) == "haul_log"


def test_of_two_types_in_one_workbook_the_one_with_more_rows_is_recognised() -> None:
    hauls = [HAUL_HEADER.split(","), *([date(2025, 1, 3), None, "Compactor", 5.5] for _ in "123")]
    content = workbook(("Charges", [INVOICE_HEADER.split(",")]), ("Hauls", hauls))
    assert recognise("a.xlsx", content) == "haul_log"
    notes = ("Notes", [["remember the milk"]])
    assert recognise("a.xlsx", workbook(notes, ("Hauls", hauls), hidden="Hauls")) is None
