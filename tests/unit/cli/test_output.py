from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from wastewise_jobs.cli.error_words import explain
from wastewise_jobs.cli.follow import situation
from wastewise_jobs.cli.keys import _print as print_keys
from wastewise_jobs.cli.summary import analysis_summary, job_details, jobs_table
from wastewise_jobs.cli.text import plain
from wastewise_jobs.client import NotAuthorizedError, ProblemError, ServiceUnreachableError
from wastewise_jobs.errors import ConfigurationError, InvalidInputError
from wastewise_jobs.web.access.keys import KeyInfo
from wastewise_jobs.wire.jobs import AiUsage, JobAnswer, JobError, JobProgress, JobTiming, RetryInfo

AT = datetime(2026, 1, 31, 8, tzinfo=UTC)


def make_job(
    *, step: str | None = None, retry_after: datetime | None = None, **overrides: Any
) -> JobAnswer:
    values: dict[str, Any] = {
        "id": UUID(int=7),
        "project_id": None,
        "job_type": "complete_analysis",
        "status": "processing",
        "priority": 5,
        "priority_reason": "regular",
        "progress": JobProgress(percent=40, current_step=step, steps_completed=1, total_steps=6),
        "timing": JobTiming(
            created_at=AT,
            started_at=AT,
            completed_at=None,
            estimated_completion=None,
            duration_seconds=None,
            retry_after=retry_after,
        ),
        "result": None,
        "error": None,
        "retry_info": RetryInfo(retry_count=1, max_retries=3, errors=[]),
        "ai_usage": AiUsage(requests=0, tokens_input=0, tokens_output=0, cost_usd=0),
        "worker_id": None,
        "updated_at": AT,
    }
    return JobAnswer(**(values | overrides))


def printed(renderable: object, *, width: int = 160) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_a_table_shows_what_is_asked_first() -> None:
    text = printed(jobs_table([make_job()], width=160))
    for shown in (str(UUID(int=7)), "complete_analysis", "processing", "40%", "2 of 4"):
        assert shown in text


def test_a_table_of_jobs_fits_into_a_small_terminal() -> None:
    long_ago = datetime(2020, 12, 31, 12, tzinfo=UTC)
    jobs = [make_job(), make_job(job_type="regulatory_research", status="cancelled")]
    jobs[1].timing.created_at = long_ago
    jobs.append(make_job(job_type="a_type_with_a_name_that_is_much_longer", status="completed"))
    lines = printed(jobs_table(jobs, width=80), width=80).splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    for line, words in zip(
        lines[1:], (["complete_analysis"], ["regulatory_research", "2020-12"], ["…"]), strict=True
    ):
        assert str(UUID(int=7)) in line
        for shown in words:
            assert shown in line


def test_a_key_is_told_in_lines_that_fit_into_a_small_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = KeyInfo(
        id=UUID(int=1),
        public_id="0123456789abcdef",
        user_id=UUID(int=2),
        name="a name\x1b[31m",
        scopes=["admin", "read", "write"],
        created_at=AT,
        expires_at=AT,
        revoked_at=AT,
        last_used_at=AT,
    )
    print_keys([key, replace(key, revoked_at=None), replace(key, last_used_at=None)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert max(map(len, lines)) <= 80
    assert lines[0] == "0123456789abcdef  a name [31m"
    assert lines[1] == f"  user {UUID(int=2)}, may admin, read, write"
    for line, words in zip(lines[2::3], ("revoked", "expires", "never used"), strict=True):
        assert words in line


def test_nobody_can_write_into_the_terminal_of_whoever_looks() -> None:
    hostile = "\x1b[31m[bold]x[/bold]\x07\u202e\r\n" + "y" * 1000
    job = make_job(
        step=hostile,
        error=JobError(message=hostile, code="[red]C", details=None),
        worker_id=hostile,
    )
    text = printed(job_details(job)) + printed(analysis_summary({"summary": {"headline": hostile}}))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[bold]x[/bold]" in text
    assert "[red]C" in text
    assert len(plain(hostile)) < 310


def test_results_of_other_shapes_are_shown_as_they_are() -> None:
    assert analysis_summary({"pruned": 3}) is None
    assert analysis_summary([1]) is None
    odd: dict[str, Any] = {
        "summary": {},
        "metrics": [1, {"label": 5, "benchmark": {}}],
        "recommendations": "none",
        "warnings": None,
    }
    assert "5" in printed(analysis_summary(odd))
    assert "pruned" in printed(job_details(make_job(result={"pruned": 3})))


def test_an_analysis_shows_figures_recommendations_and_warnings() -> None:
    result = {
        "summary": {"headline": "$23,959 a year can be saved with one measure."},
        "metrics": [
            {
                "label": "Cost per door",
                "display": "$31.20 per door",
                "benchmark": {"text": "$18 to $35"},
                "band": "typical",
            }
        ],
        "recommendations": [
            {
                "title": "Compactor monitoring",
                "verdict": "strongly_recommend",
                "annualSavings": 23959.4,
                "paybackMonths": 0.15,
                "reason": "light hauls",
            },
            {"title": "Bins", "verdict": "do_not_recommend", "annualSavings": -805.0},
        ],
        "notRecommended": [{"title": "Bulk subscription", "reason": "no bulk charges"}],
        "warnings": [{"message": f"row {number}"} for number in range(8)],
    }
    text = printed(analysis_summary(result))
    for shown in (
        "$23,959 a year can be saved",
        "$31.20 per door",
        "$18 to $35",
        "strongly recommend",
        "$23,959.40",
        "\u2212$805.00",
        "0.1 months",
        "no Bulk subscription",
        "no bulk charges",
        "8 warnings",
        "row 4",
        "and 3 more",
    ):
        assert shown in text, shown


def test_a_warning_names_its_file_and_rows_however_many_they_are() -> None:
    rows = ", ".join(map(str, range(2, 200, 2)))
    message = "Rows that add up others were left out."
    warnings = [
        {"message": message, "text": f"semi.csv, row 28: {message}"},
        {"message": message, "text": f"long.csv, rows {rows}: {message}"},
        {"message": message, "text": f"a.csv, row 1; b.csv, row 2; c.csv, row 3: {message}"},
        {"message": message, "text": message},
    ]
    lines = printed(analysis_summary({"summary": {}, "warnings": warnings})).splitlines()
    assert f"  • semi.csv, row 28: {message}" in [line.rstrip() for line in lines]
    (long,) = [line.strip() for line in lines if "long.csv" in line]
    assert long.startswith("• long.csv, rows 2, 4, 6,")
    assert long.endswith(f"…: {message}")
    assert f"• a.csv, row 1 and 2 more: {message}" in [line.strip() for line in lines]
    assert f"• {message}" in [line.strip() for line in lines]


def test_a_failed_job_lists_every_problem_and_says_nothing_twice() -> None:
    first = 'a.csv, row 2, column "Date": "x" is not a date'
    second = 'a.csv, row 9, column "Tons": is empty'
    problems = [{"text": first}, {"text": second}]
    message = f"{first} (and 2 more)"
    job = make_job(
        status="failed",
        error=JobError(
            message=message,
            code="UNREADABLE_FILE",
            details={"problems": problems, "problemCount": 3},
        ),
        retry_info=RetryInfo(
            retry_count=1,
            max_retries=3,
            errors=[
                {"attempt": 1, "error_message": "HTTP 503", "error_code": "HTTP_503"},
                {"attempt": 2, "error_message": message, "error_code": "UNREADABLE_FILE"},
            ],
        ),
    )
    text = printed(job_details(job))
    assert text.count("(and 2 more)") == 1
    assert text.count(second) == 1
    assert "and 1 more" in text
    assert "attempt 1: HTTP 503 (HTTP_503)" in text
    assert "attempt 2:" not in text


@pytest.mark.parametrize(
    ("overrides", "attempts"),
    [
        ({"status": "pending"}, "1 of 4"),
        ({"status": "processing", "worker_id": "w"}, "2 of 4"),
        ({"status": "failed", "worker_id": "w"}, "2 of 4"),
        ({"status": "cancelled"}, "1 of 4"),
        ({"status": "cancelled", "worker_id": "w"}, "2 of 4"),
    ],
)
def test_only_attempts_that_have_begun_are_counted(overrides: Any, attempts: str) -> None:
    assert attempts in printed(job_details(make_job(**overrides)))


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (make_job(step="Reading rows"), "Reading rows"),
        (make_job(), "running"),
        (make_job(status="pending"), "waiting for a worker"),
        (make_job(status="failed"), "failed"),
        (make_job(status="pending", retry_after=AT), "waits until"),
        (
            make_job(
                status="pending",
                retry_after=AT,
                error=JobError(message="HTTP 503", code="X", details=None),
            ),
            "attempt 2 of 4",
        ),
    ],
)
def test_a_job_is_described_in_a_few_words(job: JobAnswer, words: str) -> None:
    assert words in situation(job)


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (ConfigurationError("PORT", "must be a number"), "PORT: must be a number", 2),
        (InvalidInputError("--units", "too few"), "--units: too few", 2),
        (ServiceUnreachableError("http://x", "refused"), "wastewise-jobs serve", 1),
        (NotAuthorizedError(401, {"detail": "no"}), "WASTEWISE_TOKEN", 1),
        (NotAuthorizedError(403, {"detail": "admins only", "code": "x"}), "admins only (x)", 1),
        (
            ProblemError(400, {"detail": "runAt: is odd", "field": "runAt", "code": "x"}),
            "--run-at: is odd (x)",
            2,
        ),
        (ProblemError(400, {"field": "projectId", "code": "project_required"}), "--property", 2),
        (FileNotFoundError(2, "No such file"), "No such file", 1),
        (KeyError("x"), "--debug", 1),
        (
            ExceptionGroup("tasks", [KeyError("x"), ConfigurationError("PORT", "is taken")]),
            "PORT: is taken",
            2,
        ),
    ],
)
def test_every_error_is_one_line_with_a_next_step(error: Exception, words: str, code: int) -> None:
    text, exit_code = explain(error)
    assert words in text
    assert exit_code == code
    assert "\n" not in text


def test_who_is_known_but_not_allowed_needs_no_other_token() -> None:
    assert "--token" not in explain(NotAuthorizedError(403, {"detail": "admins only"}))[0]
