"""The calls of the HTTP API as typed methods."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote
from uuid import UUID

import aiohttp
from pydantic import BaseModel, ValidationError

from wastewise_jobs.client.errors import (
    ServiceError,
    ServiceUnreachableError,
    UnexpectedAnswerError,
)
from wastewise_jobs.client.sse import EventStreamParser
from wastewise_jobs.client.transport import Answer, Transport, reason_of
from wastewise_jobs.errors import InvalidInputError, problem_of
from wastewise_jobs.wire.jobs import (
    AnalyzeAnswer,
    AnalyzeRequest,
    CancelAnswer,
    JobAnswer,
    JobList,
    RetryAnswer,
)
from wastewise_jobs.wire.projects import (
    MAX_FILE_BYTES,
    FileAnswer,
    FileList,
    ProjectAnswer,
    ProjectDetails,
    ProjectRequest,
)
from wastewise_jobs.wire.types import DEFAULT_PAGE, HealthAnswer

FINISHED = frozenset({"completed", "failed", "cancelled"})
LONGEST_POLL_SECONDS = 30
_SILENCE_SECONDS = 45.0
# The job had finished when the last event was sent.
_NOTHING_MORE = 204
_MOST_RECONNECTS = 20
_LONGEST_RECONNECT_PAUSE_SECONDS = 5.0

ModelT = TypeVar("ModelT", bound=BaseModel)


class Client:
    """Talks to one wastewise-jobs service. Use as an async context manager.

    Every call has a time limit and is repeated where that is safe. Raises ClientError and what is
    below it; InvalidInputError, before anything is sent, for values that the API would refuse.
    """

    def __init__(
        self, base_url: str, token: str | None = None, *, timeout_seconds: float = 30.0
    ) -> None:
        self._http = Transport(base_url, token, timeout_seconds=timeout_seconds)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._http.__aexit__(*exc_info)

    # Projects and their files

    async def create_project(self, project: ProjectRequest) -> ProjectAnswer:
        """A new project. Not repeated when its answer is lost: it might then exist twice."""
        answer = await self._send("POST", "/api/projects", project, repeatable=False)
        return _parsed(ProjectAnswer, answer)

    async def project(self, project_id: UUID) -> ProjectDetails:
        """One project with what its last analysis found."""
        return await self._get(ProjectDetails, f"/api/projects/{project_id}")

    async def delete_project(self, project_id: UUID) -> None:
        """Remove a project with its files and jobs."""
        await self._http.request("DELETE", f"/api/projects/{project_id}", repeatable=True)

    async def upload_file(
        self,
        project_id: UUID,
        file_name: str,
        content: bytes,
        *,
        file_type: Literal["invoice", "haul_log"] | None = None,
    ) -> FileAnswer:
        """Put a file into a project, or replace the one of that name."""
        if len(content) > MAX_FILE_BYTES:
            raise InvalidInputError(
                file_name, f"is larger than {MAX_FILE_BYTES} bytes", code="too_large"
            )
        answer = await self._http.request(
            "PUT",
            f"/api/projects/{project_id}/files/{quote(file_name, safe='')}",
            params={"fileType": file_type} if file_type else None,
            headers={"Content-Type": "application/octet-stream"},
            data=content,
            repeatable=True,
        )
        return _parsed(FileAnswer, answer)

    async def files(self, project_id: UUID) -> list[FileAnswer]:
        """The files of a project, by name."""
        return (await self._get(FileList, f"/api/projects/{project_id}/files")).files

    # Jobs

    async def submit(
        self,
        job_type: str,
        *,
        project_id: UUID | None = None,
        input_data: Mapping[str, Any] | None = None,
        priority: int | None = None,
        max_retries: int | None = None,
        timeout_seconds: float | None = None,
        run_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> AnalyzeAnswer:
        """Enqueue a job; one call makes one job, however often it has to be sent.

        Without a key of the caller's own, one is made for this call, so that repeating it after
        a lost answer finds the job that is already there.
        """
        request = checked(
            AnalyzeRequest,
            job_type=job_type,
            project_id=project_id,
            input_data=dict(input_data or {}),
            priority=priority,
            max_retries=max_retries,
            timeout_seconds=timeout_seconds,
            run_at=run_at,
        )
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        answer = await self._send("POST", "/api/analyze", request, repeatable=True, headers=headers)
        return _parsed(AnalyzeAnswer, answer)

    async def job(self, job_id: UUID, *, wait_seconds: int = 0) -> JobAnswer:
        """One job; with `wait_seconds`, as soon as it has finished or the time is over."""
        params = {"wait": str(wait_seconds)} if wait_seconds else None
        answer = await self._http.request(
            "GET",
            f"/api/jobs/{job_id}",
            params=params,
            extra_seconds=wait_seconds,
            repeatable=True,
        )
        return _parsed(JobAnswer, answer)

    async def finished_job(self, job_id: UUID) -> JobAnswer:
        """The job once it has finished; waits as long as that takes."""
        while True:
            job = await self.job(job_id, wait_seconds=LONGEST_POLL_SECONDS)
            if job.status in FINISHED:
                return job

    async def jobs(
        self,
        *,
        statuses: Sequence[str] = (),
        job_type: str | None = None,
        project_id: UUID | None = None,
        user_id: UUID | None = None,
        limit: int = DEFAULT_PAGE,
        cursor: str | None = None,
    ) -> JobList:
        """One page of jobs, newest first."""
        given = {"jobType": job_type, "projectId": project_id, "userId": user_id, "cursor": cursor}
        params = [("limit", str(limit)), *(("status", status) for status in statuses)]
        params += [(name, str(value)) for name, value in given.items() if value is not None]
        answer = await self._http.request("GET", "/api/jobs", params=params, repeatable=True)
        return _parsed(JobList, answer)

    async def cancel(self, job_id: UUID) -> CancelAnswer:
        """Cancel a job: at once when pending, by asking its worker when processing."""
        path = f"/api/jobs/{job_id}/cancel"
        return _parsed(CancelAnswer, await self._http.request("POST", path, repeatable=False))

    async def retry(self, job_id: UUID) -> RetryAnswer:
        """Send a failed job round again."""
        path = f"/api/jobs/{job_id}/retry"
        return _parsed(RetryAnswer, await self._http.request("POST", path, repeatable=False))

    async def report(self, job_id: UUID, report_format: Literal["html", "xlsx"]) -> bytes:
        """A finished analysis's report."""
        path = f"/api/jobs/{job_id}/reports/{report_format}"
        return (await self._http.request("GET", path, repeatable=True)).body

    async def events(
        self, job_id: UUID, *, on_break: Callable[[str], None] | None = None
    ) -> AsyncGenerator[JobAnswer, None]:
        """The job at each change, until it has finished.

        A broken stream is taken up again where it broke, and `on_break` is told why it did; the
        last value is always the finished job.
        """
        parser = EventStreamParser()
        failures = 0
        while True:
            reason = "the event stream ended early"
            try:
                async with aclosing(self._events_once(job_id, parser)) as seen:
                    async for job in seen:
                        failures = 0
                        yield job
                        if job.status in FINISHED:
                            return
            except (aiohttp.ClientError, TimeoutError, ServiceError, ValueError) as error:
                reason = reason_of(error)
            failures += 1
            if failures > _MOST_RECONNECTS:
                raise ServiceUnreachableError(self._http.base_url, reason)
            if on_break is not None:
                on_break(reason)
            pause = parser.retry_seconds or 0.2 * 2 ** min(failures, 8)
            await asyncio.sleep(min(pause, _LONGEST_RECONNECT_PAUSE_SECONDS))
            # What was half received belongs to the broken connection.
            parser, retry_seconds = EventStreamParser(parser.last_event_id), parser.retry_seconds
            parser.retry_seconds = retry_seconds

    async def _events_once(
        self, job_id: UUID, parser: EventStreamParser
    ) -> AsyncGenerator[JobAnswer, None]:
        headers = {"Accept": "text/event-stream"}
        if parser.last_event_id:
            headers["Last-Event-ID"] = parser.last_event_id
        path = f"/api/jobs/{job_id}/events"
        async with self._http.stream(
            path, headers=headers, silence_seconds=_SILENCE_SECONDS
        ) as response:
            if response.status == _NOTHING_MORE:
                yield await self.job(job_id)
                return
            async for chunk in response.content.iter_any():
                for event in parser.feed(chunk):
                    if event.name in {"progress", "status"}:
                        yield _validated(JobAnswer, event.data, response.status)

    # The service itself

    async def readiness(self) -> HealthAnswer:
        """Whether the service can do its work. Raises ServiceError while it cannot."""
        return _parsed(HealthAnswer, await self._http.request("GET", "/readyz", repeatable=False))

    async def _get(self, model: type[ModelT], path: str) -> ModelT:
        return _parsed(model, await self._http.request("GET", path, repeatable=True))

    async def _send(
        self,
        method: str,
        path: str,
        body: BaseModel,
        *,
        repeatable: bool,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return await self._http.request(
            method,
            path,
            data=body.model_dump_json(by_alias=True, exclude_none=True).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
            repeatable=repeatable,
        )


def checked(model: type[ModelT], **values: Any) -> ModelT:  # noqa: ANN401 - the model checks them
    """The model of these values; InvalidInputError names the first field that is wrong."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(field, problem_of(first)) from None


def _parsed(model: type[ModelT], answer: Answer) -> ModelT:
    return _validated(model, answer.body, answer.status)


def _validated(model: type[ModelT], text: str | bytes, status: int) -> ModelT:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnexpectedAnswerError(status, f"{where or 'body'}: {first['msg']}") from None
