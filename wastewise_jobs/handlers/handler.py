"""One handler: the function, its options, and the way to enqueue jobs for it."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Generic, ParamSpec, TypeVar, cast
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError

from wastewise_jobs.db.doorbell import WAKE_TOPIC
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.errors import InvalidInputError, JobRefusedError
from wastewise_jobs.handlers.binding import Bindable
from wastewise_jobs.handlers.options import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, Options
from wastewise_jobs.handlers.signature import Signature
from wastewise_jobs.jobs.failure import describe_invalid
from wastewise_jobs.jobs.ids import new_job_id
from wastewise_jobs.jobs.model import Enqueued, JobTypeInfo, NewJob
from wastewise_jobs.jobs.storable import MAX_INPUT_BYTES, dump_json
from wastewise_jobs.jobs.store import JobStore

P = ParamSpec("P")
R = TypeVar("R")

# More in one statement gains nothing and holds its locks longer.
_ENQUEUED_TOGETHER = 1000
_STATEMENTS_UNDER_WAY = 2
_GIVEN = "given by the caller"


class Handler(Generic[P, R]):
    """Does the work of one job type; calling it calls the function."""

    def __init__(
        self,
        job_type: str,
        function: Callable[P, R],
        signature: Signature,
        options: Options,
        bindable: Bindable,
    ) -> None:
        self.job_type = job_type
        self.function = function
        self.signature = signature
        self.options = options
        self._bindable = bindable
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, as a unit test does."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<handler of {self.job_type}>"

    def info(
        self,
        *,
        default_timeout: timedelta = DEFAULT_TIMEOUT,
        default_max_retries: int = DEFAULT_MAX_RETRIES,
    ) -> JobTypeInfo:
        """What the database is told about the job type."""
        options = self.options
        timeout = options.timeout or default_timeout
        retries = options.max_retries
        return JobTypeInfo(
            job_type=self.job_type,
            queue=options.queue,
            priority=options.priority,
            timeout_seconds=timeout.total_seconds(),
            max_retries=default_max_retries if retries is None else retries,
            run_in=options.run_in.value,
            description=options.description,
            input_schema=self.signature.schema,
            needs_project=options.needs_project,
            admin_only=options.admin_only,
        )

    def parse_input(self, text: str) -> Any:  # noqa: ANN401 - whatever the function wants
        """The input as the function wants it; raises ValidationError or InvalidInputError."""
        model = self.signature.model
        if model is not None:
            return model.model_validate_json(text)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise InvalidInputError("input", f"cannot be read: {error.msg}") from None
        if not isinstance(value, dict):
            raise InvalidInputError("input", "must be a JSON object")
        return value

    async def enqueue(
        self,
        input: object = None,
        *,
        user_id: UUID | None = None,
        project_id: UUID | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        idempotency_key: str | None = None,
        max_retries: int | None = None,
        timeout: timedelta | float | None = None,  # noqa: ASYNC109 - of the job, not of this call
        queue: str | None = None,
        connection: Connection | None = None,
    ) -> Enqueued:
        """Enqueue one job; with `connection` inside the caller's transaction.

        `input` is the handler's model or a dict that fits it; InvalidInputError names the field
        that does not. `delay` and `timeout` are timedeltas or seconds, `run_at` has a time zone.
        JobRefusedError when a constraint says no, or when the idempotency key was used for
        another request; the same request again returns the job of the first one.
        """
        job = NewJob(
            id=new_job_id(),
            job_type=self.job_type,
            input_json=self.input_json(input),
            user_id=user_id,
            project_id=project_id,
            priority=priority,
            priority_reason=None if priority is None else _GIVEN,
            queue=queue,
            max_retries=max_retries,
            timeout_seconds=_seconds(timeout),
            run_at=_run_at(run_at, delay),
            delay_seconds=_seconds(delay),
        )
        if idempotency_key is not None:
            job = _with_key(job, idempotency_key)
        answer = await self._insert(job, connection)
        if isinstance(answer, JobRefusedError):
            raise answer
        if answer.disposition == "conflict":
            raise JobRefusedError(
                "idempotency_key_conflict",
                f"the idempotency key was used for another request (job {answer.id})",
                field="idempotencyKey",
            )
        return answer

    async def enqueue_many(
        self,
        inputs: Iterable[object],
        *,
        user_id: UUID | None = None,
        project_id: UUID | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        max_retries: int | None = None,
        timeout: timedelta | float | None = None,  # noqa: ASYNC109 - of the jobs, not of this call
        queue: str | None = None,
        connection: Connection | None = None,
    ) -> list[Enqueued | JobRefusedError]:
        """Enqueue one job per input, a thousand per statement; answers in the order of the inputs.

        Every input is validated before the first job is inserted.
        """
        like = NewJob(
            id=new_job_id(),
            job_type=self.job_type,
            user_id=user_id,
            project_id=project_id,
            priority=priority,
            priority_reason=None if priority is None else _GIVEN,
            queue=queue,
            max_retries=max_retries,
            timeout_seconds=_seconds(timeout),
            run_at=_run_at(run_at, delay),
            delay_seconds=_seconds(delay),
        )
        texts = [self.input_json(one) for one in inputs]
        chunks = (
            texts[start : start + _ENQUEUED_TOGETHER]
            for start in range(0, len(texts), _ENQUEUED_TOGETHER)
        )
        answers: list[Enqueued | JobRefusedError] = []
        under_way: deque[asyncio.Task[list[Enqueued | JobRefusedError]]] = deque()
        # A connection takes one statement at a time.
        most = _STATEMENTS_UNDER_WAY if connection is None else 1
        try:
            for chunk in chunks:
                under_way.append(asyncio.create_task(self._insert_alike(like, chunk, connection)))
                # Sent now: PostgreSQL inserts these while the next ones are made here.
                await asyncio.sleep(0)
                if len(under_way) == most:
                    answers += await under_way.popleft()
            while under_way:
                answers += await under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        return answers

    async def _insert(
        self, job: NewJob, connection: Connection | None
    ) -> Enqueued | JobRefusedError:
        if connection is None:
            # Whatever else is enqueued at this moment goes with it.
            answer: Enqueued | JobRefusedError = await self._bindable.binding.batcher.enqueue(job)
        else:
            (answer,) = await _store_on(connection).enqueue([job], connection=connection)
        await self._tell(job, connection)
        return answer

    async def _insert_alike(
        self, like: NewJob, inputs: list[str], connection: Connection | None
    ) -> list[Enqueued | JobRefusedError]:
        store = self._bindable.binding.store if connection is None else _store_on(connection)
        answers = await store.enqueue_alike(like, inputs, connection=connection)
        await self._tell(like, connection)
        return answers

    async def _tell(self, job: NewJob, connection: Connection | None) -> None:
        queue = job.queue or self.options.queue
        if connection is None:
            self._bindable.binding.ring(queue)
        elif self._bindable.notifies:
            await connection.execute("SELECT pg_notify($1, $2)", WAKE_TOPIC, queue)

    def input_json(self, given: object) -> str:
        """The stored form of an input; InvalidInputError names the field that is wrong."""
        model = self.signature.model
        if given is None and model is None:
            return "{}"
        if model is not None and not isinstance(given, model):
            given = _validated(model, given)
        elif model is None and not isinstance(given, dict):
            raise InvalidInputError("input", f"must be a dict, not {type(given).__name__}")
        try:
            return dump_json(given, max_bytes=MAX_INPUT_BYTES)
        except InvalidInputError as error:
            raise InvalidInputError(error.field or "input", error.problem) from None


def _store_on(connection: Connection) -> JobStore:
    # It needs no pool for statements on a connection that is given.
    return JobStore(cast("Pool", connection))


def _validated(model: type[BaseModel], given: object) -> BaseModel:
    try:
        return model.model_validate({} if given is None else given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "input"
        problem = describe_invalid(error).removeprefix(f"{field}: ")
        raise InvalidInputError(field, problem) from None


def _seconds(given: timedelta | float | None) -> float | None:
    return given.total_seconds() if isinstance(given, timedelta) else given


def _run_at(run_at: datetime | None, delay: timedelta | float | None) -> datetime | None:
    if run_at is not None and delay is not None:
        raise InvalidInputError("delay", "cannot be given together with run_at")
    if run_at is not None and run_at.tzinfo is None:
        raise InvalidInputError("run_at", "has no time zone")
    return run_at


def _with_key(job: NewJob, key: str) -> NewJob:
    request = [
        job.job_type,
        orjson.loads(job.input_json),
        job.user_id,
        job.project_id,
        job.priority,
        job.queue,
        job.max_retries,
        job.timeout_seconds,
        job.run_at,
        job.delay_seconds,
    ]
    digest = hashlib.sha256(
        orjson.dumps(request, default=str, option=orjson.OPT_SORT_KEYS)
    ).digest()
    return replace(job, idempotency_key=key, idempotency_hash=digest)
