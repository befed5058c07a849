"""Files made to break the reader: each must end in an error that names the file, at little cost."""

import io
import pickle
import zipfile

import pytest

from tests.unit.analysis.factories import INVOICE_HEADER, haul_csv, invoice_csv, workbook
from wastewise_jobs.analysis import (
    AnalysisError,
    InvalidPropertyError,
    NoDataError,
    Problem,
    PropertyFacts,
    SourceFile,
    UnreadableFilesError,
    extract,
    recognise,
)
from wastewise_jobs.analysis.intake import tables
from wastewise_jobs.analysis.intake.workbook import MOST_BYTES

ROW = "INV-1,2024-02-01,2024-01-01,2024-01-31,Acme,Hauling,Compactor haul,250.00"
SHEET = "xl/worksheets/sheet1.xml"


def problem_of(content: bytes, name: str = "x.xlsx") -> str:
    with pytest.raises(UnreadableFilesError) as caught:
        extract([SourceFile(name, content)])
    assert caught.value.problems[0].file == name
    assert recognise(name, content) is None
    return caught.value.problems[0].problem


def rebuilt(parts: dict[str, bytes], content: bytes | None = None) -> bytes:
    """A workbook with some of its parts replaced."""
    source = zipfile.ZipFile(
        io.BytesIO(content or workbook(("S", [INVOICE_HEADER.split(","), ROW.split(",")])))
    )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            archive.writestr(name, parts.get(name, source.read(name)))
        for name in parts.keys() - set(source.namelist()):
            archive.writestr(name, parts[name])
    return target.getvalue()


def sheet_with(cells: str) -> bytes:
    return (
        '<?xml version="1.0"?><worksheet '
        'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        f"<sheetData>{cells}</sheetData></worksheet>"
    ).encode()


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = rebuilt({"xl/worksheets/sheet9.xml": b" " * (MOST_BYTES + 1)})
    assert len(bomb) < 1_000_000
    assert "unpacks to more than" in problem_of(bomb)


def test_an_archive_that_lies_about_its_sizes_is_refused() -> None:
    honest = rebuilt({SHEET: sheet_with("<row/>") + b" " * 5_000_000})
    size = (5_000_000 + len(sheet_with("<row/>"))).to_bytes(4, "little")
    assert honest.count(size) >= 1
    assert "damaged" in problem_of(honest.replace(size, (100).to_bytes(4, "little")))


def test_one_cell_in_the_last_corner_is_refused() -> None:
    far = rebuilt({SHEET: sheet_with('<row r="190000"><c r="XFD190000"><v>1</v></c></row>')})
    assert "row 190000, column 16384" in problem_of(far)


def test_cells_without_an_address_are_counted_too() -> None:
    wide = "<row>" + "<c><v>1</v></c>" * 400 + "</row>"
    far = rebuilt({SHEET: sheet_with(wide + "<row/>" * 10_000 + "<row><c><v>1</v></c></row>")})
    assert "column 400" in problem_of(far)


def test_an_address_hidden_in_character_references_is_seen() -> None:
    hidden = "&#88;&#70;&#68;190000"
    far = rebuilt({SHEET: sheet_with(f'<row r="1"><c a="&gt;" r="{hidden}"><v>1</v></c></row>')})
    assert "column 16384" in problem_of(far)


def test_a_shared_string_of_megabytes_in_every_cell_is_refused() -> None:
    strings = (
        '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>'
        + "x" * 1_000_000
        + "</t></si></sst>"
    ).encode()
    cells = "".join(f'<row r="{r}"><c r="A{r}" t="s"><v>0</v></c></row>' for r in range(1, 600))
    parts = {SHEET: sheet_with(cells), "xl/sharedStrings.xml": strings}
    assert "too much text" in problem_of(rebuilt(parts))


def test_entity_declarations_are_refused() -> None:
    doctype = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet>&a;</worksheet>'
    assert "document type" in problem_of(rebuilt({SHEET: doctype}))


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04 and nothing more",
        rebuilt({"xl/workbook.xml": b"<broken"}),
        rebuilt({SHEET: b"\xff\xfe\x00"}),
        rebuilt({"[Content_Types].xml": b""}),
        rebuilt({})[:-40],
    ],
)
def test_a_damaged_workbook_is_refused(content: bytes) -> None:
    assert "workbook" in problem_of(content)


def test_another_zip_is_no_workbook() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("content.xml", "<x/>")
    assert "not an XLSX workbook" in problem_of(buffer.getvalue(), "book.ods")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"%PDF-1.7 ...", "PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "password-protected"),
        (b"<html><table></table></html>", "web page"),
        (INVOICE_HEADER.encode() + b"\nINV\x00-1,", "NUL"),
        (b"\x81\x8d\x8f", "neither UTF-8 nor"),
        (b'a,"' + b"x" * 200_000, "header row|not a CSV"),
    ],
)
def test_what_is_no_text_says_what_it_is(content: bytes, said: str) -> None:
    problem = problem_of(content, "file.csv")
    assert any(word in problem for word in said.split("|"))


def test_too_many_rows_are_refused() -> None:
    rows = "\n".join(["1,2"] * (tables.MOST_ROWS + 1))
    assert "more than 200000 rows" in problem_of(rows.encode(), "long.csv")


def test_control_characters_and_long_texts_do_not_reach_a_row() -> None:
    odd = ROW.replace("Acme", "A\x07c\x1bme").replace("Compactor haul", "y" * 5_000)
    (line,) = extract([invoice_csv(odd, name="in\x00voi\ud800ces.csv")]).invoice_lines
    assert line.vendor == "A c me"
    assert len(line.description) == 1000
    assert line.place.file == "in voi ces.csv"


def test_a_cell_of_a_thousand_characters_is_cut_in_its_error() -> None:
    with pytest.raises(UnreadableFilesError) as caught:
        extract([invoice_csv(ROW.replace("250.00", "x" * 5_000))])
    assert len(caught.value.message) < 150


@pytest.mark.parametrize(
    "error",
    [
        UnreadableFilesError([Problem("is empty", "a.csv")] * 3, 70),
        NoDataError([Problem("nothing")]),
        InvalidPropertyError([Problem("0 is not a number", column="units")]),
    ],
)
def test_every_error_survives_a_process_boundary(error: AnalysisError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(copy) is type(error)
    assert (copy.code, copy.message, copy.details) == (error.code, error.message, error.details)
    assert str(copy) == error.message


def test_input_and_results_survive_a_process_boundary() -> None:
    extraction = extract([invoice_csv(ROW), haul_csv("2024-01-05,,,5.2,,")])
    assert pickle.loads(pickle.dumps(extraction)) == extraction  # noqa: S301  # our own bytes


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"units": 0}, "units"),
        ({"units": True}, "units"),
        ({"units": 200, "equipment_type": "ROCKET"}, "equipment_type"),
        ({"units": 200, "property_type": "Castle"}, "property_type"),
        ({"units": 200, "container_yards": "NaN"}, "container_yards"),
        ({"units": 200, "pickups_per_week": -1}, "pickups_per_week"),
        ({"units": 200, "containers": 0}, "containers"),
    ],
)
def test_impossible_facts_are_refused_by_name(facts: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidPropertyError) as caught:
        PropertyFacts("P", **facts)  # type: ignore[arg-type]
    assert [problem.column for problem in caught.value.problems] == [field]


def test_names_of_types_are_known_in_any_case() -> None:
    facts = PropertyFacts("P", 200, property_type="garden-style", equipment_type="compactor")
    assert (facts.property_type, facts.equipment_type) == ("Garden-Style", "COMPACTOR")
