"""From a request to the job it asks for. Pure: who may have what, and under which key."""

import re
from collections.abc import Sequence
from dataclasses import replace

from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.jobs.model import JobTypeInfo, NewJob
from wastewise_jobs.jobs.request import new_job, with_key
from wastewise_jobs.jobs.storable import dump_json
from wastewise_jobs.web.http.caller import Caller
from wastewise_jobs.web.http.problems import (
    FORBIDDEN,
    INVALID_VALUE,
    JOB_TYPE_REFUSED,
    PROJECT_REQUIRED,
    TOO_LARGE,
    ProblemError,
)
from wastewise_jobs.wire.jobs import MAX_INPUT_BYTES, AnalyzeRequest
from wastewise_jobs.wire.types import FieldProblem

ADMIN_PRIORITY = 1
_KEY_IN_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?", re.ASCII)


def check_type(info: JobTypeInfo, body: AnalyzeRequest, caller: Caller) -> None:
    """Raise ProblemError when this caller cannot have a job of this type, or not like that."""
    if info.admin_only and not caller.admin:
        message = (
            f"jobType: {info.job_type} touches what belongs to everybody; admins may ask for it"
        )
        raise ProblemError(FORBIDDEN, message, field="jobType")
    if info.refusal is not None:
        raise ProblemError(JOB_TYPE_REFUSED, info.refusal, field="jobType")
    if info.needs_project and body.project_id is None:
        problem = f"is required by the job type {info.job_type}"
        raise ProblemError(
            PROJECT_REQUIRED,
            f"projectId: {problem}",
            field="projectId",
            errors=[FieldProblem(field="projectId", problem=problem)],
        )


def asked_job(
    body: AnalyzeRequest, *, caller: Caller, keys_in_header: Sequence[str], priority_floor: int
) -> NewJob:
    """Return the job to enqueue; raises ProblemError for an input or a key that cannot be."""
    key = _idempotency_key(body, keys_in_header)
    job = new_job(
        body.job_type,
        _input_json(body),
        user_id=caller.user_id,
        project_id=body.project_id,
        priority=body.priority,
        max_retries=body.max_retries,
        timeout=body.timeout_seconds,
        run_at=body.run_at,
    )
    if key is not None:
        job = with_key(job, key)
    # Behind the key: the same request is the same job, whatever became of its priority.
    priority, reason = _priority(body.priority, caller, priority_floor)
    return replace(job, priority=priority, priority_reason=reason)


def _idempotency_key(body: AnalyzeRequest, in_headers: Sequence[str]) -> str | None:
    if not in_headers:
        return body.idempotency_key
    in_header = in_headers[0]
    if len(in_headers) > 1:
        problem = "is given more than once"
    elif not _KEY_IN_HEADER.fullmatch(in_header):
        problem = "must be 1 to 255 printable ASCII characters"
    elif body.idempotency_key not in {None, in_header}:
        problem = "differs from idempotencyKey in the body"
    else:
        return in_header
    raise ProblemError(
        INVALID_VALUE,
        f"Idempotency-Key: {problem}",
        field="Idempotency-Key",
        errors=[FieldProblem(field="Idempotency-Key", problem=problem)],
    )


def _priority(asked: int | None, caller: Caller, floor: int) -> tuple[int | None, str | None]:
    """None and None let the database assign one by the kind of work."""
    if caller.admin:
        return (ADMIN_PRIORITY, "admin") if asked is None else (asked, "asked for by an admin")
    if asked is None:
        return None, None
    if asked < floor:
        return floor, f"asked for {asked}; users may ask for {floor} at most"
    return asked, "asked for"


def _input_json(body: AnalyzeRequest) -> str:
    try:
        return dump_json(body.input_data, max_bytes=MAX_INPUT_BYTES)
    except InvalidInputError as error:
        problem = error.problem
        raise ProblemError(
            TOO_LARGE,
            f"inputData: {problem}",
            field="inputData",
            errors=[FieldProblem(field="inputData", problem=problem)],
        ) from None
