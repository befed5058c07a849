"""Jobs over HTTP: create, look, list, cancel, retry."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, assert_never
from uuid import UUID

from aiohttp import web
from pydantic import Field

from wastewise_jobs.db import quotas
from wastewise_jobs.errors import JobRefusedError
from wastewise_jobs.jobs.model import (
    Cancellation,
    Disposition,
    Enqueued,
    JobFilter,
    JobView,
    NewJob,
    Requeueing,
    Status,
)
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.web.api import tags
from wastewise_jobs.web.api.batcher import EnqueueBatcher
from wastewise_jobs.web.api.catalogue import Catalogue
from wastewise_jobs.web.api.creation import asked_job, check_type
from wastewise_jobs.web.api.views import job_answer, job_summary
from wastewise_jobs.web.api.writes import Writes
from wastewise_jobs.web.http.caller import READ, WRITE, Caller
from wastewise_jobs.web.http.cursor import moment_cursor, read_row_cursor
from wastewise_jobs.web.http.limits import Gate
from wastewise_jobs.web.http.parameters import IdInPath, Page
from wastewise_jobs.web.http.problems import (
    BUSY,
    CONSTRAINT_VIOLATED,
    FORBIDDEN,
    IDEMPOTENCY_CONFLICT,
    INPUT_NOT_STORABLE,
    INVALID_CURSOR,
    INVALID_INPUT,
    JOB_FINISHED,
    JOB_NOT_FAILED,
    JOB_NOT_FOUND,
    JOB_TYPE_REFUSED,
    KEY_RELEASED,
    OVERLOADED,
    PROJECT_GONE,
    PROJECT_NOT_FOUND,
    PROJECT_REQUIRED,
    QUOTA_EXCEEDED,
    TOO_MANY_ENQUEUES,
    TOO_MANY_WAITS,
    UNKNOWN_JOB_TYPE,
    USER_UNKNOWN,
    ProblemError,
    no_such_job,
)
from wastewise_jobs.web.http.route import (
    READ_SECONDS,
    Call,
    NoBody,
    NoParameters,
    Parameters,
    Route,
    answer,
)
from wastewise_jobs.web.watch import JobWatcher
from wastewise_jobs.wire.jobs import (
    AnalyzeAnswer,
    AnalyzeRequest,
    CancelAnswer,
    JobAnswer,
    JobList,
    JobStatus,
    RetryAnswer,
)
from wastewise_jobs.wire.types import FieldProblem, Pagination, WireUuid

log = get_logger(__name__)

LONGEST_WAIT_SECONDS = 60
_MOST_WAITS = 100
# What a constraint refuses at enqueue, by the store's code.
_REFUSED = {
    "input_not_storable": INPUT_NOT_STORABLE,
    "idempotency_key_released": KEY_RELEASED,
    "project_not_found": PROJECT_GONE,
    "user_not_found": USER_UNKNOWN,
}


class JobQuery(Parameters):
    """How long to wait for the job to finish."""

    wait: Annotated[float, Field(ge=0, le=LONGEST_WAIT_SECONDS)] = Field(
        0, description="seconds to wait for the job to finish before answering"
    )


class JobListQuery(Page):
    """Which jobs; `userId` is for admins."""

    status: list[JobStatus] = Field(default_factory=list, max_length=5)
    job_type: Annotated[str, Field(max_length=200)] | None = None
    project_id: WireUuid | None = None
    user_id: WireUuid | None = Field(None, description="admins only")


class JobsResource:
    """The handlers of /api/analyze and of single jobs and their list."""

    def __init__(
        self,
        *,
        store: JobStore,
        catalogue: Catalogue,
        batcher: EnqueueBatcher,
        watcher: JobWatcher,
        ring: Callable[[str], None],
        writes: Writes,
        priority_floor: int,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._batcher = batcher
        self._watcher = watcher
        self._ring = ring
        self._writes = writes
        self._priority_floor = priority_floor
        self._waits = Gate(_MOST_WAITS, TOO_MANY_WAITS, "waiting requests")

    async def create(
        self, call: Call[NoParameters, NoParameters, AnalyzeRequest]
    ) -> web.StreamResponse:
        """201 with a new job, or 200 with the one that the same request made before."""
        known = await self._catalogue.get(call.body.job_type)
        check_type(known.info, call.body, call.caller)
        known.check(call.body.input_data)
        job = asked_job(
            call.body,
            caller=call.caller,
            keys_in_header=call.request.headers.getall("Idempotency-Key", []),
            priority_floor=self._priority_floor,
        )
        enqueued = await self._enqueue(job, call.caller)
        if enqueued.disposition is Disposition.CREATED:
            log.info(
                "job_enqueued",
                job_id=str(enqueued.id),
                job_type=job.job_type,
                priority=enqueued.priority,
            )
            if not _is_delayed(job):
                self._ring(known.info.queue)
        return _created(enqueued)

    async def get(self, call: Call[IdInPath, JobQuery, NoBody]) -> web.StreamResponse:
        """The whole job; with `wait`, as soon as it has finished."""
        view = await self._seen(call.path.id, call.caller)
        if call.query.wait and not view.status.finished:
            with self._waits.enter(call.caller):
                finished = await self._finished(view, call.query.wait)
            view = finished or await self._seen(call.path.id, call.caller)
        return answer(job_answer(view))

    async def list_jobs(self, call: Call[NoParameters, JobListQuery, NoBody]) -> web.StreamResponse:
        query = call.query
        wanted = JobFilter(
            user_id=_listed_user(call.caller, query.user_id),
            statuses=[Status(status) for status in query.status],
            job_type=query.job_type,
            project_id=query.project_id,
        )
        before = read_row_cursor("jobs", query.cursor)
        views = await self._store.list_jobs(wanted, limit=query.limit + 1, before=before)
        page, more = views[: query.limit], len(views) > query.limit
        last = moment_cursor("jobs", page[-1].created_at, page[-1].id) if more else None
        return answer(
            JobList(
                jobs=[job_summary(view) for view in page],
                pagination=Pagination(limit=query.limit, has_more=more, next_cursor=last),
            )
        )

    async def cancel(self, call: Call[IdInPath, NoParameters, NoBody]) -> web.StreamResponse:
        """200 when it is cancelled, 202 when its worker has to stop first."""
        job_id = call.path.id
        async with self._writes.transaction(call.caller) as connection:
            done = await self._store.cancel(
                job_id, user_id=call.caller.sees_only, executor=connection
            )
        match done:
            case Cancellation.CANCELLED:
                log.info("job_cancelled", job_id=str(job_id))
                body = CancelAnswer(job_id=job_id, status="cancelled", message="Cancelled.")
                return answer(body)
            case Cancellation.REQUESTED:
                log.info("job_cancel_requested", job_id=str(job_id))
                message = "The worker is asked to stop; the job ends within seconds."
                body = CancelAnswer(job_id=job_id, status="processing", message=message)
                return answer(body, status=202)
            case Cancellation.FINISHED:
                raise ProblemError(JOB_FINISHED, "the job has finished already")
            case None:
                raise no_such_job()
            case unreachable:
                assert_never(unreachable)

    async def retry(self, call: Call[IdInPath, NoParameters, NoBody]) -> web.StreamResponse:
        """The failed job is pending again, with all its retries; its error log stays."""
        job_id = call.path.id
        async with self._writes.transaction(call.caller) as connection:
            if not call.caller.admin:
                await quotas.take(connection, call.caller.user_id, jobs=1)
            done = await self._store.requeue(
                job_id, user_id=call.caller.sees_only, executor=connection
            )
        match done:
            case Requeueing.REQUEUED:
                log.info("job_requeued", job_id=str(job_id))
                for view in await self._store.views([job_id]):
                    self._ring(view.queue)
                message = "The job is pending again."
                return answer(RetryAnswer(job_id=job_id, status="pending", message=message))
            case Requeueing.NOT_FAILED:
                raise ProblemError(JOB_NOT_FAILED, "only a failed job can be retried")
            case None:
                raise no_such_job()
            case unreachable:
                assert_never(unreachable)

    async def _enqueue(self, job: NewJob, caller: Caller) -> Enqueued:
        try:
            return await self._batcher.enqueue(job, any_project=caller.admin)
        except JobRefusedError as error:
            refusal = _REFUSED.get(error.code, CONSTRAINT_VIOLATED)
            problems = [FieldProblem(field=error.field, problem=error.problem)]
            raise ProblemError(
                refusal,
                error.problem,
                field=error.field or None,
                errors=problems if error.field else (),
            ) from None

    async def _seen(self, job_id: UUID, caller: Caller) -> JobView:
        # A limit of its own: the route's is meant for those who wait for the job.
        async with asyncio.timeout(READ_SECONDS):
            view = await self._store.get(job_id, user_id=caller.sees_only)
        if view is None:
            raise no_such_job()
        return view

    async def _finished(self, view: JobView, seconds: float) -> JobView | None:
        with self._watcher.watch(view) as watch, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (now := await watch.next()) is not None:
                    if now.status.finished:
                        return now
        return None


def routes(jobs: JobsResource) -> tuple[Route, ...]:
    return (
        Route(
            "POST",
            "/api/analyze",
            jobs.create,
            WRITE,
            "Create a job",
            answers={200: AnalyzeAnswer, 201: AnalyzeAnswer},
            refusals=(
                UNKNOWN_JOB_TYPE,
                INVALID_INPUT,
                PROJECT_REQUIRED,
                PROJECT_NOT_FOUND,
                IDEMPOTENCY_CONFLICT,
                JOB_TYPE_REFUSED,
                OVERLOADED,
                TOO_MANY_ENQUEUES,
                BUSY,
                QUOTA_EXCEEDED,
                CONSTRAINT_VIOLATED,
                *_REFUSED.values(),
            ),
            tag=tags.JOBS,
            body_limit=512 * 1024,
            request_headers={
                "Idempotency-Key": "the same request with the same key makes one job only"
            },
            rate_limited=True,
            located=True,
        ),
        Route(
            "GET",
            "/api/jobs",
            jobs.list_jobs,
            READ,
            "List jobs, newest first; admins see everybody's",
            answers={200: JobList},
            refusals=(INVALID_CURSOR,),
            tag=tags.JOBS,
        ),
        Route(
            "GET",
            "/api/jobs/{id}",
            jobs.get,
            READ,
            "Look at a job, or wait until it has finished",
            answers={200: JobAnswer},
            refusals=(JOB_NOT_FOUND, TOO_MANY_WAITS),
            tag=tags.JOBS,
            time_limit=LONGEST_WAIT_SECONDS + 30.0,
        ),
        Route(
            "DELETE",
            "/api/jobs/{id}",
            jobs.cancel,
            WRITE,
            "Cancel a job: 200 cancelled now, 202 its worker is asked to stop",
            answers={200: CancelAnswer, 202: CancelAnswer},
            refusals=(JOB_NOT_FOUND, JOB_FINISHED),
            tag=tags.JOBS,
        ),
        Route(
            "POST",
            "/api/jobs/{id}/cancel",
            jobs.cancel,
            WRITE,
            "Cancel a job: 200 cancelled now, 202 its worker is asked to stop",
            answers={200: CancelAnswer, 202: CancelAnswer},
            refusals=(JOB_NOT_FOUND, JOB_FINISHED),
            tag=tags.JOBS,
        ),
        Route(
            "POST",
            "/api/jobs/{id}/retry",
            jobs.retry,
            WRITE,
            "Send a failed job round again, with all its retries",
            answers={200: RetryAnswer},
            refusals=(JOB_NOT_FOUND, JOB_NOT_FAILED, QUOTA_EXCEEDED),
            tag=tags.JOBS,
        ),
    )


def _listed_user(caller: Caller, asked: UUID | None) -> UUID | None:
    if caller.admin:
        return asked
    if asked is not None and asked != caller.user_id:
        raise ProblemError(FORBIDDEN, "only admins may give userId", field="userId")
    return caller.user_id


def _is_delayed(job: NewJob) -> bool:
    # Only saves a needless ring: whether it is due, the database decides by its own clock.
    return job.run_at is not None and job.run_at > datetime.now(UTC)


def _created(enqueued: Enqueued) -> web.Response:
    match enqueued.disposition:
        case Disposition.CREATED:
            status, message = 201, "The job was created."
        case Disposition.EXISTING:
            status, message = 200, "This request created this job before."
        case Disposition.CONFLICT:
            detail = "this idempotency key was used before for another request"
            raise ProblemError(IDEMPOTENCY_CONFLICT, detail, field="idempotencyKey")
        case unreachable:
            assert_never(unreachable)
    body = AnalyzeAnswer(
        job_id=enqueued.id,
        status=enqueued.status.value,
        priority=enqueued.priority,
        priority_reason=enqueued.priority_reason,
        message=message,
    )
    return answer(
        body,
        status=status,
        headers={"Location": f"/api/jobs/{enqueued.id}"},
    )
