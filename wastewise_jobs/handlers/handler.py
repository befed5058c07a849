"""One handler: the function, its options, and the way to enqueue jobs for it."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Generic, ParamSpec, TypeVar, Unpack

import orjson
from pydantic import BaseModel, ValidationError

from wastewise_jobs.db.pool import Connection
from wastewise_jobs.errors import InvalidInputError, JobRefusedError
from wastewise_jobs.handlers.binding import Bindable
from wastewise_jobs.handlers.enqueue import enqueue, enqueue_many
from wastewise_jobs.handlers.options import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, Options
from wastewise_jobs.handlers.signature import Signature
from wastewise_jobs.jobs.failure_rules import describe_invalid
from wastewise_jobs.jobs.model import Enqueued, JobTypeInfo
from wastewise_jobs.jobs.request import EnqueueOptions, new_job, with_key
from wastewise_jobs.jobs.storable import MAX_INPUT_BYTES, dump_json

P = ParamSpec("P")
R = TypeVar("R")


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
        idempotency_key: str | None = None,
        connection: Connection | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> Enqueued:
        """Enqueue one job; with `connection` inside the caller's transaction.

        `input` is the handler's model or a dict that fits it; InvalidInputError names the field
        that does not. `delay` and `timeout` are timedeltas or seconds, `run_at` has a time zone.
        JobRefusedError when a constraint says no, or when the idempotency key was used for
        another request; the same request again, over HTTP too, returns the job of the first one.
        """
        job = new_job(self.job_type, self.input_json(input), **options)
        if idempotency_key is not None:
            job = with_key(job, idempotency_key)
        queue = job.queue or self.options.queue
        return await enqueue(job, where=self._bindable, queue=queue, connection=connection)

    async def enqueue_many(
        self,
        inputs: Iterable[object],
        *,
        connection: Connection | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> list[Enqueued | JobRefusedError]:
        """Enqueue one job per input, a thousand per statement; answers in the order of the inputs.

        Every input is validated before the first job is inserted.
        """
        like = new_job(self.job_type, **options)
        texts = [self.input_json(one) for one in inputs]
        queue = like.queue or self.options.queue
        return await enqueue_many(
            like, texts, where=self._bindable, queue=queue, connection=connection
        )

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


def _validated(model: type[BaseModel], given: object) -> BaseModel:
    try:
        return model.model_validate({} if given is None else given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "input"
        problem = describe_invalid(error).removeprefix(f"{field}: ")
        raise InvalidInputError(field, problem) from None
