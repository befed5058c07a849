from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from wastewise_jobs.cli.arguments import json_object, option_of, point_in_time, spread_files
from wastewise_jobs.errors import InvalidInputError


def test_files_after_one_flag_become_one_flag_each() -> None:
    typed = (
        "submit complete_analysis --invoices a.csv dir/b b.xlsx --units 200 --haul-log h.csv i.csv"
    )
    assert spread_files(typed.split()) == [
        "submit",
        "complete_analysis",
        "--invoices",
        "a.csv",
        "--invoices",
        "dir/b",
        "--invoices",
        "b.xlsx",
        "--units",
        "200",
        "--haul-log",
        "h.csv",
        "--haul-log",
        "i.csv",
    ]


def test_a_job_type_may_come_after_the_files() -> None:
    typed = "submit --invoices a.csv b.csv complete_analysis c.csv"
    assert spread_files(typed.split()) == [
        "submit",
        "--invoices",
        "a.csv",
        "--invoices",
        "b.csv",
        "complete_analysis",
        "c.csv",
    ]


def test_a_first_file_may_have_any_name() -> None:
    assert spread_files(["--invoices", "ledger"]) == ["--invoices", "ledger"]


def test_other_options_are_left_alone() -> None:
    typed = ["jobs", "list", "--status", "failed", "x.csv", "--invoices=a.csv", "b.csv"]
    assert spread_files(typed) == typed


def test_input_is_a_json_object_or_a_file_of_one(tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"files": ["a.csv"]}')
    assert json_object('{"a": 1}', "--input") == {"a": 1}
    assert json_object(f"@{tmp_path}/input.json", "--input") == {"files": ["a.csv"]}
    (tmp_path / "windows.json").write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa9"}\r\n')
    assert json_object(f"@{tmp_path}/windows.json", "--input") == {"a": "é"}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1]", "null", "NaN", "@/nowhere/input.json", '{"a": NaN}', '{"a": "\udcff"}'),
        '{"a": ' + "[" * 600 + "]" * 600 + "}",
        '{"a": "' + "a" * 300_000 + '"}',
    ],
)
def test_other_input_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^--input: "):
        json_object(text, "--input")


def test_a_time_is_absolute_or_a_delay() -> None:
    assert point_in_time(None, "--run-at") is None
    assert point_in_time("2026-01-31T08:00:00Z", "--run-at") == datetime(2026, 1, 31, 8, tzinfo=UTC)
    delayed = point_in_time("90m", "--run-at")
    assert delayed is not None
    assert abs(delayed - datetime.now(UTC) - timedelta(minutes=90)) < timedelta(seconds=30)


@pytest.mark.parametrize(
    "text",
    [
        "tomorrow",
        "2026-01-31T08:00:00",
        "2026-02-30T08:00:00Z",
        "-5m",
        "5",
        "9" * 30 + "d",
        "9" * 5000 + "d",
    ],
)
def test_a_time_without_meaning_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^--run-at: "):
        point_in_time(text, "--run-at")


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("container_yards", "--container-yards"),
        ("propertyName", "--property"),
        ("equipmentType", "--equipment"),
        ("timeout_seconds", "--timeout"),
        ("jobType", "JOB_TYPE"),
        ("Idempotency-Key", "--key"),
        ("status.0", "--status"),
        ("inputData.files.0", "--input: files.0"),
    ],
)
def test_fields_have_the_names_of_their_options(field: str, option: str) -> None:
    assert option_of(field) == option
