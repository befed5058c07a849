"""Values that break programs, in every field of the API and in and out of handlers."""

import json
from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote

from benchmarks.chaos import odd
from benchmarks.chaos.clients import Reply
from benchmarks.chaos.site import Plan, Run, Site, site

# As JSON text, because no encoder would write some of them.
_JSON = (
    r'"\u0000"', r'{"\u0000": 1}', r'"\ud800"', r'"\udfff tail"', "NaN", "Infinity", "-Infinity",
    "1e100000", "-1e400", "9" * 5000, "18446744073709551616", "-1", "0.1", "1e3", "null", "true",
    "[" * 70 + "]" * 70, "[" * 50_000 + "]" * 50_000, '{"a": 1, "a": 2}', "01", "[1,]", "", '"x',
    '""', '" "', '"\\u202e\\u2028"', json.dumps("x" * 100_000), json.dumps("ä" * 300),
    '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59-14:00"', '"2026-01-01T00:00:00"',
    '"00000000-0000-0000-0000-000000000000"', '"{7b0f9a52-3c1d-4e8f-9a6b-2d5e8c1f0a37}"',
    '"\'; DROP TABLE analysis_jobs; --"', '"<script>alert(1)</script>"', '"../../etc/passwd"',
)  # fmt: skip
_JOB = {"jobType": '"echo"', "inputData": "{}"}
_JOB_FIELDS = (
    "jobType", "projectId", "inputData", "inputData.x", "priority", "idempotencyKey", "maxRetries",
    "timeoutSeconds", "runAt", "unknown",
)  # fmt: skip
_PROJECT = {
    "propertyName": '"Oak"', "units": "200", "city": '"Austin"', "state": '"TX"',
    "propertyType": '"Garden-Style"', "equipmentType": '"COMPACTOR"',
}  # fmt: skip
_PROJECT_FIELDS = (*_PROJECT, "containers", "containerYards", "pickupsPerWeek", "unknown")
# In paths, query strings and headers.
_TEXTS = (
    "\0", "\x01", "a\tb", "..", ".", "%", "%00", "\ud7ff", "\U0010ffff", "x" * 5000, "null", "-1",
    "1e9", "99999999999999999999", "'", '"', "<b>", "a/b", "a\\b", "ä" * 200, " ", "{id}",
)  # fmt: skip
_STATUS_OF_BUGS = 500


async def hostile(run: Run) -> None:
    """Send all of them; whatever is accepted must come to its end, and so must every odd job."""
    run.report.method = (
        f"{len(_JSON)} JSON values in every field of two bodies, {len(_TEXTS)} texts in paths, "
        f"queries and headers, {len(odd.acts())} odd acts of handlers in loop, thread and process"
    )
    async with site(run, Plan(workers=1, poll=0.5, supervised=False)) as here:
        statuses: Counter[int] = Counter()
        for method, path, options in _requests():
            reply = await here.clients.request(method, path, **options)
            statuses[reply.status] += 1
            if not _fair(reply):
                run.report.broken([f"{method} {path[:80]} {options}: {reply.status}"[:400]])
        for job_type in _job_types(run):
            for act in odd.acts():
                await here.clients.enqueue(job_type, act=act)
        await here.drained(patience=30)
        for status, count in sorted(statuses.items()):
            run.report.figure(f"answers of {status or 'no kind'}", count)
        await _figures(here)
        await here.workers.stop()
        # An odd result has no fence in it, and nobody wrote down its run.
        await here.check(peaceful=True, without=("last_fence_wins", "completed_was_run"))


def _job_types(run: Run) -> tuple[str, ...]:
    # A child process that is lost to an odd act is dear to start again.
    return ("odd", "odd_in_thread", "odd_in_process") if run.long else ("odd", "odd_in_thread")


def _requests() -> Iterator[tuple[str, str, dict[str, object]]]:
    for path, whole, fields in (
        ("/api/analyze", _JOB, _JOB_FIELDS),
        ("/api/projects", _PROJECT, _PROJECT_FIELDS),
    ):
        for field in fields:
            for value in _JSON:
                yield "POST", path, {"data": _body(whole, field, value), "headers": _AS_JSON}
        for text in (*_JSON, b"\xff\xfe{}", b"\x00", b"{}" * 100_000):
            yield "POST", path, {"data": text, "headers": _AS_JSON}
    for text in _TEXTS:
        part = quote(text, safe="")
        for path in ("/api/jobs/{}", "/api/projects/{}", "/docs/{}", "/api/jobs/{}/reports/{}"):
            yield "GET", path.replace("{}", part), {}
        for name in ("cursor", "limit", "status", "jobType", "projectId", "wait", "unknown"):
            yield "GET", f"/api/jobs?{name}={part}", {}
        yield "PUT", f"/api/projects/{_NOBODYS}/files/{part}", {"data": b"a"}
        # The client itself refuses to send control characters there.
        header = "".join(c for c in text if " " <= c <= "\xff" and c != "\x7f")
        for name in ("Idempotency-Key", "X-Request-Id", "Authorization", "Last-Event-ID"):
            yield "POST", "/api/analyze", {"data": b"{}", "headers": _AS_JSON | {name: header}}


_AS_JSON = {"Content-Type": "application/json"}
_NOBODYS = "00000000-dead-4eef-8000-000000000000"


def _body(whole: dict[str, str], field: str, value: str) -> bytes:
    name, _, inner = field.partition(".")
    given = whole | {name: f'{{"{inner}": {value}}}' if inner else value}
    return ("{" + ", ".join(f'"{n}": {v}' for n, v in given.items()) + "}").encode()


def _fair(reply: Reply) -> bool:
    """An answer that is no bug of ours, with a code where it refuses."""
    if reply.status >= _STATUS_OF_BUGS or reply.status == 0:
        return False
    return reply.status < 400 or (isinstance(reply.body, dict) and bool(reply.body.get("code")))


async def _figures(here: Site) -> None:
    report = here.run.report
    ended = await here.pool.fetch(
        "SELECT job_type, status, count(*) FROM analysis_jobs GROUP BY 1, 2 ORDER BY 1, 2"
    )
    for job_type, status, count in ended:
        report.figure(f"{job_type}: {status}", count)
    soon = """
        SELECT count(*) FROM analysis_jobs
        WHERE status IN ('pending', 'processing') AND (retry_after IS NULL OR retry_after < now())
    """
    report.figure("stuck jobs", await here.pool.fetchval(soon), at_most=0)
    members = [*here.workers.members.values(), *here.apis.members.values()]
    report.figure("processes that ended", sum(not member.alive for member in members), at_most=0)
    crashes = "SELECT count(*) FROM analysis_jobs WHERE crash_count > 0"
    report.figure("jobs charged with a crash", await here.pool.fetchval(crashes), at_most=0)
