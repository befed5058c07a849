"""Files as people export them, each a folder of `corpus/` with what must come of it.

`expected.toml` says the situation and either `error` (texts that the refusal holds) or figures:

    lines, hauls         how many rows were read
    spend, tons, months, monthly_cost, cost_per_door, ...   the figure of that name, exactly
    bands                figure = its band; "" for a figure that gets no verdict
    warnings             exactly the codes of what was noted in reading
    analysis_warnings    codes that the analysis adds, among others
    messages             texts that the warnings hold
    skipped              reason = rows, among others: what was left out
    checks               exactly what each total of the file's own was held against
    amounts              the amount of each line, in order
    [property]           facts other than a garden-style property of 200 homes
    [options]            what `inputData` says about the files

Every other file of the folder is read, in the order of the names.
"""

import json
import tomllib
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from wastewise_jobs.analysis import (
    Analysis,
    AnalysisError,
    Choices,
    Extraction,
    PropertyFacts,
    SourceFile,
    analyse,
    extract,
)
from wastewise_jobs.analysis.model import JsonObject

CORPUS = Path(__file__).parent / "corpus"
_EXPECTED = "expected.toml"
_PROPERTY = {"name": "Corpus", "units": 200, "propertyType": "Garden-Style"}
_PLAIN = {
    "situation", "error", "lines", "hauls", "bands", "warnings", "analysis_warnings", "messages",
    "skipped", "checks", "amounts", "property", "options",
}  # fmt: skip
_FIGURES = {
    "total_spend": "spend", "months": "months", "monthly_cost": "monthly_cost",
    "cost_per_door": "cost_per_door", "yards_per_door": "yards_per_door", "total_tons": "tons",
    "tons_per_haul": "tons_per_haul", "days_covered": "days_covered",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One folder of the corpus."""

    name: str
    expected: JsonObject
    files: list[SourceFile] = field(repr=False)


def _case(folder: Path) -> Case:
    expected = tomllib.loads((folder / _EXPECTED).read_text(encoding="utf-8"))
    if "warnings" in expected:
        expected["warnings"].sort()
    paths = sorted(path for path in folder.iterdir() if path.name != _EXPECTED)
    return Case(folder.name, expected, [SourceFile(p.name, p.read_bytes()) for p in paths])


CASES = [_case(folder) for folder in sorted(CORPUS.iterdir()) if folder.is_dir()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_is_read_right_or_refused(case: Case) -> None:
    assert not case.expected.keys() - _PLAIN - set(_FIGURES.values())
    assert case.files
    if "error" in case.expected:
        _must_be_refused(case)
    else:
        _must_be_read(case)


def _must_be_refused(case: Case) -> None:
    with pytest.raises(AnalysisError) as caught:
        _extraction(case)
    said = "\n".join(str(problem) for problem in caught.value.problems)
    for text in case.expected["error"]:
        assert text in said


def _must_be_read(case: Case) -> None:
    extraction = _extraction(case)
    analysis = _analysis(case, extraction)
    assert _outcome(case.expected, extraction, analysis) == {
        key: value
        for key, value in case.expected.items()
        if key not in {"situation", "property", "options", "analysis_warnings", "messages"}
    }
    codes = {warning.code for warning in analysis.warnings}
    assert set(case.expected.get("analysis_warnings", [])) <= codes
    said = "\n".join(str(warning) for warning in analysis.warnings)
    for text in case.expected.get("messages", []):
        assert text in said


def _extraction(case: Case) -> Extraction:
    """What a job reads and stores, read back from its stored form."""
    read = extract(case.files, Choices.from_json(case.expected.get("options", {})))
    stored = Extraction.from_rows(
        json.loads(json.dumps(read.rows())), json.loads(json.dumps(read.to_json()))
    )
    assert stored == read
    return stored


def _analysis(case: Case, extraction: Extraction) -> Analysis:
    facts = PropertyFacts.from_json(_PROPERTY | case.expected.get("property", {}))
    analysis = analyse(facts, extraction)
    assert Analysis.from_json(json.loads(json.dumps(analysis.to_json()))) == analysis
    return analysis


def _outcome(expected: JsonObject, extraction: Extraction, analysis: Analysis) -> JsonObject:
    """What came of the files, of the kinds that are expected."""
    summaries = [summary.to_json() for summary in extraction.files]
    skipped = dict(pair for summary in extraction.files for pair in summary.skipped)
    outcome: JsonObject = {
        "lines": len(extraction.invoice_lines),
        "hauls": len(extraction.hauls),
        "warnings": sorted({warning.code for warning in extraction.warnings}),
        "skipped": {reason: skipped.get(reason) for reason in expected.get("skipped", {})},
        "bands": {name: _band(analysis, name) for name in expected.get("bands", {})},
        "checks": [text for summary in summaries for text in summary.get("checks", [])],
        "amounts": [str(line.amount) for line in extraction.invoice_lines],
    }
    for figure in analysis.figures:
        if figure.code in _FIGURES:
            wanted = expected.get(_FIGURES[figure.code])
            outcome[_FIGURES[figure.code]] = _as_written(figure.value, wanted)
    return {key: value for key, value in outcome.items() if key in expected}


def _band(analysis: Analysis, name: str) -> str | None:
    figure = analysis.figure(name)
    return None if figure is None else figure.band


def _as_written(value: Decimal, wanted: object) -> str:
    """The value with as many places as the expectation has, which may be of a longer quotient."""
    places = len(str(wanted).partition(".")[2])
    return f"{value:.{places}f}"
