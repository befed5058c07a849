"""Tables about jobs and what an analysis found, as rich renderables.

Reads results leniently: a job type of somebody else's returns what it likes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.pretty import Pretty
from rich.table import Table
from rich.text import Text

from wastewise_jobs.cli.text import LONGEST_ERROR, day_or_time, moment, plain
from wastewise_jobs.in_words import duration
from wastewise_jobs.wire.jobs import JobAnswer, JobSummary

STATUS_STYLES = {
    "pending": "cyan",
    "processing": "blue",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "yellow",
}
_VERDICT_STYLES = {"strongly recommend": "bold green", "recommend": "green", "consider": "yellow"}
_WIDTH_OF_ALL_COLUMNS = 105
_TOTALS = frozenset({"total_spend", "monthly_cost", "hauls", "total_tons"})
_SHOWN_WARNINGS = 5
_LONGEST_PLACE = 80
_BAND_STYLES = {"good": "green", "excellent": "green", "ideal": "green", "poor": "red"}


def jobs_table(jobs: Sequence[JobSummary], *, width: int) -> Table:
    """One line a job, with fewer columns where there is little room."""
    narrow = width < _WIDTH_OF_ALL_COLUMNS
    between = 1 if narrow else 2
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, between, 0, 0))
    table.add_column("Job", no_wrap=True, min_width=len(str(UUID(int=0))))
    table.add_column("Type")
    for name in ("Status", "Done", "Created", *(() if narrow else ("Attempt", "Took"))):
        table.add_column(name, no_wrap=True)
    for job in jobs:
        more = () if narrow else (_attempts(job), duration(job.timing.duration_seconds))
        table.add_row(
            str(job.id),
            # The column is the one that may shrink, and its names are cut, not wrapped.
            Text(plain(job.job_type), no_wrap=True, overflow="ellipsis"),
            _status(job),
            f"{job.progress.percent}%",
            day_or_time(job.timing.created_at, short=narrow),
            *more,
        )
    return table


def job_details(job: JobAnswer) -> Group:
    """Everything worth knowing about one job, its result or its error."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _facts(job):
        table.add_row(name, value)
    parts: list[RenderableType] = [table, *_problems(job), *_earlier_errors(job)]
    if job.result is not None:
        parts += ["", analysis_summary(job.result) or _outline(job.result)]
    return Group(*parts)


def _problems(job: JobAnswer) -> Iterator[RenderableType]:
    """Every place that cannot be read, where the error's sentence names only the first."""
    details = job.error.details if job.error else None
    problems = _objects(details.get("problems")) if isinstance(details, Mapping) else []
    if len(problems) > 1 and isinstance(details, Mapping):
        texts = [plain(str(entry.get("text", "")), LONGEST_ERROR) for entry in problems]
        count = details.get("problemCount")
        if isinstance(count, int) and count > len(texts):
            texts.append(f"and {count - len(texts)} more")
        yield _bullets(texts, style="red")


def _earlier_errors(job: JobAnswer) -> Iterator[RenderableType]:
    """A line for each attempt that failed, but for the one whose error is the job's."""
    errors = job.retry_info.errors
    if job.error and errors and errors[-1].get("error_message") == job.error.message:
        errors = errors[:-1]
    for entry in errors:
        said = plain(str(entry.get("error_message", "")))
        line = f"  attempt {entry.get('attempt', '?')}: {said} ({entry.get('error_code', '-')})"
        yield Text(line, style="red")


def _outline(result: object) -> RenderableType:
    """The upper levels of a result; `--json` prints all of it."""
    return Pretty(result, max_depth=2, max_length=12, max_string=200)


def _facts(job: JobAnswer) -> Iterator[tuple[str, RenderableType]]:
    yield "Job", str(job.id)
    yield "Type", escape(plain(job.job_type))
    yield "Status", _status(job)
    if job.progress.current_step:
        yield "Step", escape(f"{job.progress.percent}% {plain(job.progress.current_step)}")
    yield "Priority", escape(f"{job.priority} ({plain(job.priority_reason or '-')})")
    yield "Attempts", _attempts(job)
    if job.project_id:
        yield "Project", str(job.project_id)
    yield "Created", moment(job.timing.created_at)
    yield "Started", moment(job.timing.started_at)
    if job.timing.retry_after:
        yield "Not before", moment(job.timing.retry_after)
    yield "Finished", moment(job.timing.completed_at)
    yield "Took", duration(job.timing.duration_seconds)
    if job.worker_id:
        yield "Worker", escape(plain(job.worker_id))
    if job.error:
        said = plain(job.error.message, LONGEST_ERROR)
        yield "Error", Text(f"{said} ({plain(job.error.code or '-')})", style="red")


def _attempts(job: JobSummary) -> str:
    """How many attempts have begun; a job that waits for its next one keeps its start."""
    waits = job.status == "pending" or (job.status == "cancelled" and job.worker_id is None)
    begun = job.retry_info.retry_count + (job.timing.started_at is not None and not waits)
    return f"{begun} of {job.retry_info.max_retries + 1}"


def _status(job: JobSummary) -> Text:
    return Text(job.status, style=STATUS_STYLES.get(job.status, ""))


def analysis_summary(result: object) -> RenderableType | None:
    """The figures and recommendations of an analysis; None when the result is something else."""
    if not isinstance(result, Mapping) or not isinstance(result.get("summary"), Mapping):
        return None
    headline = plain(str(result["summary"].get("headline") or "Analysis"))
    parts: list[RenderableType] = [Text(headline, style="bold")]
    if figures := _objects(result.get("metrics")):
        parts += ["", _figures(figures)]
    recommendations = _objects(result.get("recommendations"))
    omissions = _objects(result.get("notRecommended"))
    if recommendations or omissions:
        parts += ["", _recommendations(recommendations, omissions)]
    if warnings := _objects(result.get("warnings")):
        parts += ["", _warnings(warnings)]
    return Group(*parts)


def _figures(figures: Sequence[Mapping[str, Any]]) -> Table:
    """What has a benchmark, and the totals; the report has the rest."""
    table = Table(title="Figures", title_justify="left", title_style="bold", expand=False)
    table.add_column("Figure")
    table.add_column("Value", justify="right")
    table.add_column("Benchmark")
    table.add_column("Verdict")
    for figure in figures:
        benchmark = figure.get("benchmark")
        if not isinstance(benchmark, Mapping) and figure.get("code") not in _TOTALS:
            continue
        band = plain(str(figure.get("band") or "")).replace("_", " ")
        table.add_row(
            _text(figure, "label"),
            _text(figure, "display"),
            _text(benchmark, "text") if isinstance(benchmark, Mapping) else "",
            Text(band, style=_BAND_STYLES.get(band, "")),
        )
    return table


def _recommendations(
    recommendations: Sequence[Mapping[str, Any]], omissions: Sequence[Mapping[str, Any]]
) -> RenderableType:
    table = Table(title="Recommendations", title_justify="left", title_style="bold")
    table.add_column("Measure")
    table.add_column("Verdict")
    table.add_column("Saves a year", justify="right")
    table.add_column("Pays back after", justify="right")
    for entry in recommendations:
        verdict = plain(str(entry.get("verdict") or "")).replace("_", " ")
        payback = entry.get("paybackMonths")
        table.add_row(
            _text(entry, "title"),
            Text(verdict, style=_VERDICT_STYLES.get(verdict.lower(), "")),
            _dollars(entry.get("annualSavings")),
            f"{payback:.1f} months" if isinstance(payback, int | float) else "",
        )
    reasons = _bullets(
        [
            f"no {plain(str(entry.get('title', '')))}: {plain(str(entry.get('reason', '')))}"
            for entry in omissions
        ]
    )
    shown = table if recommendations else Text("Recommendations")
    return Group(shown, reasons) if omissions else shown


def _warnings(warnings: Sequence[Mapping[str, Any]]) -> RenderableType:
    lines = [_warning(entry) for entry in warnings[:_SHOWN_WARNINGS]]
    if len(warnings) > _SHOWN_WARNINGS:
        lines.append(f"and {len(warnings) - _SHOWN_WARNINGS} more")
    count = "One warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
    title = Text(f"{count}; the report lists every row", style="yellow")
    return Group(title, _bullets(lines))


def _warning(entry: Mapping[str, Any]) -> str:
    """`hauls.csv, rows 7, 9: ...`; of many places the first, of many rows the first ones."""
    message = plain(str(entry.get("message") or ""))
    first, *others = str(entry.get("text") or "").removesuffix(message).rstrip(": ").split("; ")
    more = f" and {len(others)} more" if others else ""
    return f"{plain(first, _LONGEST_PLACE)}{more}: {message}" if first else message


def _bullets(lines: Sequence[str], style: str = "") -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for line in lines:
        table.add_row(Text("•", style=style), Text(line, style=style, overflow="fold"))
    return Padding(table, (0, 0, 0, 2))


def _text(entry: Mapping[str, Any], name: str) -> str:
    return escape(plain(str(entry.get(name) or "")))


def _dollars(value: object) -> str:
    """With cents: amounts that are rounded one by one do not add up to the headline's."""
    if not isinstance(value, int | float):
        return ""
    return f"\u2212${-value:,.2f}" if value < 0 else f"${value:,.2f}"


def _objects(value: object) -> list[Mapping[str, Any]]:
    return (
        [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
    )
