import io
import json
import re
import zipfile
from datetime import date, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from python_calamine import load_workbook

from tests.unit.analysis.factories import extraction_of, hauls_over, make_haul, make_line
from wastewise_jobs.analysis import (
    Analysis,
    Category,
    Extraction,
    PropertyFacts,
    analyse,
    extract,
    render_html,
    render_xlsx,
)
from wastewise_jobs.analysis.sample import sample_files, sample_property

HOSTILE = '<script>alert("x")</script>\'&'
FORMULA = '=HYPERLINK("http://evil.example","x")'


@pytest.fixture(scope="module")
def sample() -> tuple[Analysis, Extraction]:
    extraction = extract(sample_files())
    return analyse(sample_property(), extraction), extraction


def stored(document: Any) -> Any:
    return json.loads(json.dumps(document, sort_keys=True))


def sheets_of(content: bytes) -> dict[str, list[list[Any]]]:
    book = load_workbook(io.BytesIO(content))
    return {
        name: book.get_sheet_by_name(name).to_python(skip_empty_area=False)
        for name in book.sheet_names
    }


def value_beside(rows: list[list[Any]], label: str) -> Any:
    return next(row[1] for row in rows if row and row[0] == label)


def case(name: str) -> tuple[Analysis, Extraction]:
    """Properties that lack one thing or another; every report must stand."""
    lines = [make_line("6000", "2024-01-01", "2024-12-31", category=Category.BULK)]
    dumpsters = {"containers": 5, "container_yards": "8", "pickups_per_week": "2.5"}
    hauls = hauls_over(80, 361)
    compactor, mixed = {"equipment_type": "COMPACTOR"}, {"equipment_type": "MIXED", **dumpsters}
    cases: dict[str, tuple[dict[str, Any], Extraction]] = {
        "invoices alone": (compactor, extraction_of(lines)),
        "hauls alone": (compactor, extraction_of(hauls=hauls)),
        "one haul": (compactor, extraction_of(lines, hauls[:1])),
        "one day of hauls": (compactor, extraction_of(lines, hauls[:1] * 3)),
        "dumpsters": ({"equipment_type": "DUMPSTER", **dumpsters}, extraction_of(lines)),
        "mixed": (mixed, extraction_of(lines, hauls)),
        "leasing up": ({"units": 1500, **compactor}, extraction_of(lines, hauls)),
        "credits": (compactor, extraction_of([make_line("-50"), make_line("20")], hauls)),
        "nothing spent": (compactor, extraction_of([make_line("0")], hauls)),
        "assumed cost": (compactor, extraction_of(lines, hauls_over(3, 28, "5.9"))),
        "many hauls": (
            compactor,
            extraction_of(lines, [make_haul(date(2019, 1, 1) + timedelta(days=d)) for d in
                                  range(1200)]),
        ),
    }  # fmt: skip
    overrides, extraction = cases[name]
    return analyse(PropertyFacts("P", **{"units": 150, **overrides}), extraction), extraction


CASES = ("invoices alone", "hauls alone", "one haul", "one day of hauls", "dumpsters", "mixed",
         "leasing up", "credits", "nothing spent", "assumed cost", "many hauls")  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_reports_of_stored_rows_and_analysis_equal_those_of_the_first_run(name: str) -> None:
    analysis, extraction = case(name)
    again = Analysis.from_json(stored(analysis.to_json()))
    rows = Extraction.from_rows(stored(extraction.rows()))
    assert render_html(again) == render_html(analysis)
    assert render_xlsx(again, rows) == render_xlsx(analysis, extraction)


def test_the_sample_reports_equal_those_from_what_was_stored(
    sample: tuple[Analysis, Extraction],
) -> None:
    analysis, extraction = sample
    again = Analysis.from_json(stored(analysis.to_json()))
    rows = Extraction.from_rows(stored(extraction.rows()))
    assert render_html(again) == render_html(analysis)
    assert render_xlsx(again, rows) == render_xlsx(analysis, extraction)


class _Page(HTMLParser):
    """Checks that every element is closed and collects what a browser would load or run."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.loads += [name for name, _ in attrs if name in {"src", "href"} or name[:2] == "on"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", CASES)
def test_the_page_is_well_formed_and_loads_and_runs_nothing(name: str) -> None:
    text = render_html(case(name)[0])
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.loads == []
    assert not page.seen & {"script", "link", "img", "iframe", "object"}
    assert "url(" not in text
    assert "@import" not in text
    assert not re.search(r"\bnan\b|\binf\b|None", text)


def test_the_page_shows_the_savings_the_figures_and_the_calculation(
    sample: tuple[Analysis, Extraction],
) -> None:
    text = render_html(sample[0])
    for shown in ("$14,084", "$31.41", "Strongly recommended", "0.6 months", "hauls × 365",
                  "compactor-hauls-2025.csv, rows 2-41, 43-82", "87,435.99",
                  "Payments and carried balances"):  # fmt: skip
        assert shown in text
    assert text.count("<svg") == 7


def test_what_a_file_says_is_escaped_in_the_page() -> None:
    line = make_line("6000", vendor=HOSTILE, description=HOSTILE, category=Category.BULK)
    other = make_line("1", "2024-04-01", "2024-12-31", vendor="B")
    extraction = extraction_of([line, other])
    facts = PropertyFacts(HOSTILE, 200, HOSTILE, "TX")
    text = render_html(analyse(facts, extraction))
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#34;x&#34;)" in text


def test_what_a_file_says_is_never_a_formula_in_the_workbook() -> None:
    texts = {"vendor": FORMULA, "description": "+1+cmd|' /C calc'!A0", "invoice_number": "@SUM(1)",
             "service_type": "-2+3"}  # fmt: skip
    extraction = extraction_of([make_line("6000", **texts)], hauls_over(80, 361))
    analysis = analyse(PropertyFacts(FORMULA, 200, equipment_type="COMPACTOR"), extraction)
    content = render_xlsx(analysis, extraction)
    archive = zipfile.ZipFile(io.BytesIO(content))
    for name in archive.namelist():
        if name.startswith("xl/worksheets/sheet"):
            formulas = re.findall(r"<f>([^<]*)</f>", archive.read(name).decode())
            assert not any(re.search("HYPERLINK|cmd|evil", formula) for formula in formulas)
        if name.endswith(".rels"):
            assert b"evil" not in archive.read(name)
    row = sheets_of(content)["Invoices"][1]
    assert (row[3], row[10], row[11], row[12]) == (
        "@SUM(1)", FORMULA, "-2+3", texts["description"])  # fmt: skip


def test_the_workbook_carries_the_values_for_readers_that_do_not_calculate(
    sample: tuple[Analysis, Extraction],
) -> None:
    analysis, extraction = sample
    sheets = sheets_of(render_xlsx(analysis, extraction))
    assert list(sheets) == ["Summary", "Recommendations", "Metrics", "Months", "Inputs",
                            "Invoices", "Hauls", "Notes"]  # fmt: skip
    for figure in analysis.figures:
        shown = value_beside(sheets["Metrics"], figure.result.label)
        assert shown == pytest.approx(float(figure.value), rel=1e-12)
    assert len(sheets["Invoices"]) == 136
    assert len(sheets["Hauls"]) == 81
    assert sheets["Summary"][5][0] == pytest.approx(14084.41, abs=0.01)
    assert value_beside(sheets["Recommendations"], "Net savings") == pytest.approx(
        6312.91, abs=0.01
    )


def test_a_cell_of_the_workbook_says_its_unit_once(sample: tuple[Analysis, Extraction]) -> None:
    content = render_xlsx(*sample)
    sheets = sheets_of(content)
    units = {row[0]: row[2] for name in ("Recommendations", "Metrics") for row in sheets[name]}
    assert units["Capacity utilisation"] == units["Share of spend"] == ""
    assert units["Cost per door"] == "USD per door"
    archive = zipfile.ZipFile(io.BytesIO(content))
    (style,) = re.findall(r'r="B2" s="(\d+)"', archive.read("xl/worksheets/sheet5.xml").decode())
    styles = archive.read("xl/styles.xml").decode()
    formats = re.findall(r'<xf numFmtId="(\d+)"', styles.partition("<cellXfs")[2])
    assert f'<numFmt numFmtId="{formats[int(style)]}" formatCode="#,##0"/>' in styles
    assert sheets["Inputs"][1][:2] == ["Apartments", 232]


def test_the_savings_that_are_shown_add_up_to_the_headline(
    sample: tuple[Analysis, Extraction],
) -> None:
    text = render_html(sample[0])
    headline = re.search(r'class="big">\$([\d,]+)<', text)
    assert headline is not None
    hero = text.partition('class="headline"')[2].partition("</section>")[0]
    for shown in (
        re.findall(r'<td class="n">\$([\d,.]+)</td>', hero),
        re.findall(r'class="savings">\$([\d,.]+) ', text),
    ):
        assert len(shown) == 3
        total = sum(Decimal(amount.replace(",", "")) for amount in shown)
        assert f"{total:,.0f}" == headline[1]


_ASTRAY = """() => {
  const width = document.documentElement.clientWidth;
  const astray = [...document.querySelectorAll("main *")].filter((element) => {
    if (element.parentElement.closest(".wide")) return false;
    const box = element.parentElement.closest(".headline, .card, .recommendation");
    const edge = box ? box.getBoundingClientRect().right : width;
    return element.getBoundingClientRect().right > edge + 0.5;
  });
  return astray.map((element) => element.outerHTML.slice(0, 80));
}"""


@pytest.mark.parametrize("name", ["sample", "dumpsters", "leasing up", "assumed cost"])
async def test_nothing_sticks_out_of_the_page_however_narrow_it_is(
    name: str, sample: tuple[Analysis, Extraction], page: Any
) -> None:
    analysis = sample[0] if name == "sample" else case(name)[0]
    await page.set_content(render_html(analysis))
    for width in (320, 400, 500, 600, 760, 1200):
        await page.set_viewport_size({"width": width, "height": 900})
        assert await page.evaluate(_ASTRAY) == [], width
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_workbooks_figures_are_live_formulas(sample: tuple[Analysis, Extraction]) -> None:
    archive = zipfile.ZipFile(io.BytesIO(render_xlsx(*sample)))
    metrics = archive.read("xl/worksheets/sheet3.xml").decode()
    for formula in ("SUM(Invoices!$O$2:$O$136)", "TotalSpend/MonthsCovered", "MonthlyCost/Units",
                    "TonsPerHaul/TargetTons*100"):  # fmt: skip
        assert f"<f>{formula}</f>" in metrics
    advice = archive.read("xl/worksheets/sheet2.xml").decode()
    assert "SUMIFS(Invoices!$O$2:$O$136,Invoices!$N$2:$N$136,&quot;Hauling&quot;" in advice.replace(
        '"', "&quot;"
    )
    names = archive.read("xl/workbook.xml").decode()
    for name in ("Units", "TargetTons", "CostPerDoor", "AssumedCostPerHaul"):
        assert f'<definedName name="{name}">' in names


@pytest.mark.parametrize("name", CASES)
def test_formulas_are_written_as_the_original_worksheet_would_write_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = render_xlsx(*case(name))
    monkeypatch.delattr("wastewise_jobs.analysis.reports.workbook.book._Worksheet._prepare_formula")
    assert render_xlsx(*case(name)) == ours


@pytest.mark.parametrize("name", CASES)
def test_every_name_that_a_formula_uses_is_defined(name: str) -> None:
    archive = zipfile.ZipFile(io.BytesIO(render_xlsx(*case(name))))
    defined = set(re.findall(r'definedName name="(\w+)"', archive.read("xl/workbook.xml").decode()))
    for part in archive.namelist():
        if part.startswith("xl/worksheets/sheet"):
            formulas = " ".join(re.findall(r"<f>([^<]*)</f>", archive.read(part).decode()))
            bare = re.sub(r'"[^"]*"|&quot;.*?&quot;|\w+!\$?\w+', "", formulas)
            assert set(re.findall(r"\b[A-Z][a-z]\w+\b", bare)) <= defined, part


def test_a_figure_without_a_verdict_has_none_in_either_report() -> None:
    lines = [make_line("-48000", "2024-01-01", "2024-12-31", category=Category.BULK)]
    extraction = extraction_of(lines, hauls_over(80, 361, "1.9"))
    analysis = analyse(PropertyFacts("P", 200, equipment_type="COMPACTOR"), extraction)
    assert analysis.headline == "The figures cannot be trusted yet: see the warnings."
    assert analysis.recommendations == ()
    html = render_html(analysis)
    assert html.count("No verdict") == 4
    assert "Good: under $30" not in html
    assert "Light" not in html
    metrics = sheets_of(render_xlsx(analysis, extraction))["Metrics"]
    ratings = {row[0]: row[3] for row in metrics if len(row) > 3}
    assert ratings["Cost per door"] == ratings["Tons per haul"] == "No verdict"
    assert ratings["Days between pickups"] == "Frequent"
