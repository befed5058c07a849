"""What a job left behind: the rows it extracted and its reports."""

import asyncio
import math
from functools import partial
from uuid import UUID

from aiohttp import web

from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.projects.analysis_store import AnalysisStore
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.api import tags
from wastewise_jobs.web.api.downloads import PIECE_BYTES, Content, Downloads
from wastewise_jobs.web.http.caller import READ, Caller
from wastewise_jobs.web.http.cursor import position_cursor, read_position_cursor
from wastewise_jobs.web.http.parameters import IdInPath, Page, ReportInPath
from wastewise_jobs.web.http.problems import (
    INVALID_CURSOR,
    JOB_NOT_FOUND,
    REPORT_NOT_FOUND,
    TOO_MANY_DOWNLOADS,
    ProblemError,
    no_such_job,
)
from wastewise_jobs.web.http.route import READ_SECONDS, Call, NoBody, NoParameters, Route, answer
from wastewise_jobs.wire.jobs import JobRow, JobRows
from wastewise_jobs.wire.types import Pagination

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# A report holds texts from files that anybody may have written: it runs no script, sends nothing
# and is of no origin, whatever is in it.
_REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class JobDataResource:
    """The handlers of a job's rows and reports."""

    def __init__(
        self,
        *,
        store: JobStore,
        analyses: AnalysisStore,
        projects: ProjectStore,
        downloads: Downloads,
    ) -> None:
        self._store = store
        self._analyses = analyses
        self._projects = projects
        self._downloads = downloads

    async def rows(self, call: Call[IdInPath, Page, NoBody]) -> web.StreamResponse:
        """One page of extracted rows, in order."""
        job_id, limit = call.path.id, call.query.limit
        which = f"rows {job_id}"
        after = read_position_cursor(which, call.query.cursor)
        await self._check(job_id, call.caller)
        rows = await self._analyses.rows(job_id, after=after, limit=limit + 1)
        page, more = rows[:limit], len(rows) > limit
        return answer(
            JobRows(
                rows=[JobRow(position=position, data=data) for position, data in page],
                pagination=Pagination(
                    limit=limit,
                    has_more=more,
                    next_cursor=position_cursor(which, page[-1][0]) if more else None,
                ),
            )
        )

    async def report(self, call: Call[ReportInPath, NoParameters, NoBody]) -> web.StreamResponse:
        """The report; the HTML one to look at, the workbook to save."""
        job_id, report_format = call.path.id, call.path.format
        async with asyncio.timeout(READ_SECONDS):
            await self._check(job_id, call.caller)
            report = await self._analyses.open_report(job_id, report_format, piece=PIECE_BYTES)
        if report is None:
            raise ProblemError(REPORT_NOT_FOUND, "the job has no report in this format")
        read = partial(self._analyses.read_report, report, piece=PIECE_BYTES)
        content = Content(report.size, report.head, read)
        name = f'filename="wastewise-{job_id}.{report_format}"'
        headers = {"Content-Security-Policy": _REPORT_POLICY, "Cache-Control": "private, no-cache"}
        if report_format == "html":
            headers["Content-Disposition"] = f"inline; {name}"
            headers["Content-Type"] = "text/html; charset=utf-8"
        else:
            headers["Content-Disposition"] = f"attachment; {name}"
            headers["Content-Type"] = XLSX
        return await self._downloads.send(call.request, call.caller, content, headers)

    async def _check(self, job_id: UUID, caller: Caller) -> None:
        views = await self._store.views([job_id])
        if not views or caller.sees_only not in {None, views[0].user_id}:
            raise no_such_job()
        project_id = views[0].project_id
        if project_id is None or caller.admin:
            return
        # What was read out of a project belongs to whoever has it.
        if await self._projects.get(project_id, user_id=caller.user_id) is None:
            raise no_such_job()


def routes(data: JobDataResource) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            "/api/jobs/{id}/rows",
            data.rows,
            READ,
            "The rows that a job extracted, in order",
            answers={200: JobRows},
            refusals=(JOB_NOT_FOUND, INVALID_CURSOR),
            tag=tags.JOBS,
        ),
        Route(
            "GET",
            "/api/jobs/{id}/reports/{format}",
            data.report,
            READ,
            "A report of a job",
            answers={200: f"text/html, {XLSX}"},
            refusals=(JOB_NOT_FOUND, REPORT_NOT_FOUND, TOO_MANY_DOWNLOADS),
            tag=tags.JOBS,
            time_limit=math.inf,
        ),
    )
