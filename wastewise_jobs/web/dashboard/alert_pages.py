"""The pages that a message leads to: an alert to acknowledge, and the job it is about. Pure.

Signed links open them for whoever has the message, so they show what the message may say: no
input and no result of a job, and no word of it that is not escaped and redacted.
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from wastewise_jobs.alerts.model import Alert, JobOfAlert, Notice, Told
from wastewise_jobs.alerts.wording import clean, title_of
from wastewise_jobs.in_words import duration, moment, percent


def acknowledge_page(alert: Alert) -> str:
    """What it is about, and a button where there is something to acknowledge."""
    page = _environment().get_template("acknowledge.html.j2")
    text = clean(str(alert.details.get("error_message") or alert.message))
    return page.render(
        alert=alert, title=title_of(Told(alert, Notice.RAISED)), text=text, style=_style()
    )


def job_page(job: JobOfAlert) -> str:
    """The facts of the job as they are now."""
    page = _environment().get_template("job_of_alert.html.j2")
    return page.render(
        title=clean(f"{job.job_type}: {job.status}", 200),
        text=clean(job.error_message or ""),
        facts=[(label, clean(value, 300)) for label, value in _facts(job)],
        style=_style(),
    )


def _facts(job: JobOfAlert) -> Iterator[tuple[str, str]]:
    yield "Job", str(job.id)
    yield "Queue", f"{job.queue}, priority {job.priority}"
    yield "Attempt", f"{job.retry_count + 1:,} of {job.max_retries + 1:,}"
    for label, value in (
        ("Error code", job.error_code),
        ("Step", job.current_step),
        ("Worker", job.worker_id),
        ("User", job.user_id),
        ("Project", job.project_id),
    ):
        if value is not None:
            yield label, str(value)
    if job.progress_percent is not None:
        yield "Progress", percent(job.progress_percent)
    if job.crash_count:
        yield "Worker crashes", f"{job.crash_count:,}"
    for label, at in (
        ("Created", job.created_at),
        ("Started", job.started_at),
        ("Next attempt", job.retry_after),
        ("Ended", job.completed_at),
    ):
        if at is not None:
            yield label, moment(at)
    if job.duration_seconds is not None:
        yield "Took", duration(job.duration_seconds)


@cache
def page_policy() -> str:
    """Our one style, a form that leads back to us, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


@cache
def _style() -> str:
    return _environment().get_template("alert_page.css").render()


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("wastewise_jobs.web.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
