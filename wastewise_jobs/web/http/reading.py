"""From bytes that anybody may have sent to checked models, or to a problem that names the field."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar, get_origin
from urllib.parse import unquote_to_bytes

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.jobs.storable import clean_text, parse_json
from wastewise_jobs.web.http.budget import Held
from wastewise_jobs.web.http.problems import (
    BAD_REQUEST,
    BODY_TIMEOUT,
    INVALID_VALUE,
    LONE_SURROGATE,
    MISSING_FIELD,
    NUL_CHARACTER,
    TOO_LARGE,
    UNKNOWN_FIELD,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemError,
    Refusal,
    unacceptable,
)
from wastewise_jobs.wire.types import FieldProblem

BODY = web.RequestKey("body", Held)
BODY_SECONDS = 10.0
# What a document may take as Python values, of what it takes as text.
_TIMES_PARSED = 8
_MOST_ERRORS = 20
_LONGEST_FIELD = 300
_CHUNK = 64 * 1024
_CLOSE = {"Connection": "close"}

ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_json(request: web.Request, model: type[ModelT], *, limit: int) -> ModelT:
    """The body as `model`; raises ProblemError for whatever is not."""
    _check_media_type(request)
    raw = await read_body(request, limit=limit, total_seconds=BODY_SECONDS)
    _hold(request, len(raw) * _TIMES_PARSED)
    try:
        value = parse_json(raw, max_bytes=limit)
    except InvalidInputError as error:
        raise unacceptable(error) from None
    if not isinstance(value, dict):
        raise ProblemError(INVALID_VALUE, "the body must be a JSON object")
    return _validated(model, value)


def read_query(request: web.Request, model: type[ModelT]) -> ModelT:
    """The query string as `model`; a parameter may be repeated only where the model has a list."""
    lists = {
        field.alias or name
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is list
    }
    _check_encoding(request.rel_url.raw_query_string, "the query")
    values: dict[str, Any] = {}
    for name in request.query:
        given = request.query.getall(name)
        _check_texts([name, *given], field=name)
        if name in lists:
            values[name] = given
        elif len(given) > 1:
            raise _refused(INVALID_VALUE, name, "is given more than once")
        else:
            values[name] = given[0]
    return _validated(model, values)


def read_path(request: web.Request, model: type[ModelT]) -> ModelT:
    """The parts of the path as `model`."""
    _check_encoding(request.rel_url.raw_path, "the path")
    values = dict(request.match_info)
    for name, value in values.items():
        _check_texts([value], field=name)
    return _validated(model, values)


async def read_body(
    request: web.Request, *, limit: int, total_seconds: float, silence_seconds: float = BODY_SECONDS
) -> bytes:
    """The raw body of at most `limit` bytes.

    A body that announces too much is refused unread; one that comes too slowly, or not at all,
    is given up, and its connection closed.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ProblemError(
            UNSUPPORTED_MEDIA_TYPE, "send the body without Content-Encoding", headers=_CLOSE
        )
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)
    await _ask_for_it(request)
    parts = bytearray()
    try:
        if request.content.is_eof():
            # It came with the head, as most do: nothing to wait for, and no clock to set.
            parts += request.content.read_nowait()
            if len(parts) > limit:
                raise _too_large(limit)
            _hold(request, len(parts))
            return bytes(parts)
        async with asyncio.timeout(total_seconds):
            async for part in _chunks(request.content, silence_seconds):
                _hold(request, len(part))
                parts += part
                if len(parts) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise ProblemError(BODY_TIMEOUT, "the body came too slowly", headers=_CLOSE) from None
    except (aiohttp.web.RequestPayloadError, aiohttp.ClientPayloadError):
        raise ProblemError(
            BAD_REQUEST, "the body is not well-formed HTTP", headers=_CLOSE
        ) from None
    return bytes(parts)


def _hold(request: web.Request, size: int) -> None:
    """Count bytes until the request is answered; raises ProblemError where there are too many."""
    held = request.get(BODY)
    if held is not None:
        try:
            held.take(size)
        except ProblemError as problem:
            problem.headers |= _CLOSE
            raise


async def _ask_for_it(request: web.Request) -> None:
    # Not before size and credential are known to be good: the body would be sent for nothing.
    expected = request.headers.get("Expect", "").lower() == "100-continue"
    if expected and request.version >= aiohttp.HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What follows is the whole answer, as if nothing had been written.
        request.writer.output_size = 0


async def _chunks(content: aiohttp.StreamReader, silence_seconds: float) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(silence_seconds):
            part = await content.read(_CHUNK)
        if not part:
            return
        yield part


def _too_large(limit: int) -> ProblemError:
    detail = f"the body is larger than the {limit} bytes that are accepted"
    return ProblemError(TOO_LARGE, detail, headers=_CLOSE)


def _check_media_type(request: web.Request) -> None:
    if "Content-Type" not in request.headers:
        return
    media_type = request.content_type
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise ProblemError(
            UNSUPPORTED_MEDIA_TYPE,
            "send application/json",
            headers={**_CLOSE, "Accept": "application/json"},
        )
    if (request.charset or "utf-8").lower().replace("_", "-") not in {"utf-8", "utf8", "us-ascii"}:
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, "send the body in UTF-8", headers=_CLOSE)


def _check_encoding(raw: str, what: str) -> None:
    # The parser leaves bytes that are no UTF-8 as they are, which would name something else.
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise ProblemError(BAD_REQUEST, f"{what} is not UTF-8") from None


def _check_texts(texts: Sequence[str], *, field: str) -> None:
    for text in texts:
        if "\0" in text:
            raise _refused(NUL_CHARACTER, field, "holds a NUL character")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _refused(LONE_SURROGATE, field, "is not UTF-8") from None


def _refused(refusal: Refusal, field: str, problem: str) -> ProblemError:
    field = clean_text(field, _LONGEST_FIELD)
    return ProblemError(
        refusal,
        f"{field}: {problem}",
        field=field,
        errors=[FieldProblem(field=field, problem=problem)],
    )


def _validated(model: type[ModelT], value: dict[str, Any]) -> ModelT:
    try:
        # Python names are for Python: on the wire job_type is as unknown as any other mistake.
        return model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _problem(error) from None


def _problem(error: ValidationError) -> ProblemError:
    found = error.errors(include_url=False, include_input=False)
    problems = [_field_problem(item) for item in found[:_MOST_ERRORS]]
    refusal = {"missing": MISSING_FIELD, "extra_forbidden": UNKNOWN_FIELD}.get(
        found[0]["type"], INVALID_VALUE
    )
    first = problems[0]
    return ProblemError(
        refusal, f"{first.field}: {first.problem}", field=first.field, errors=problems
    )


def _field_problem(item: ErrorDetails) -> FieldProblem:
    field = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        problem = "is not a known field"
    elif item["type"] == "missing":
        problem = "is required"
    elif item["type"] in {"too_long", "too_short"} and _is_text(item):
        problem = _length_problem(item)
    else:
        problem = item["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return FieldProblem(field=clean_text(field, _LONGEST_FIELD), problem=clean_text(problem, 500))


def _is_text(item: ErrorDetails) -> bool:
    # Behind a validator of ours pydantic counts the "items" of a text.
    return item.get("ctx", {}).get("field_type") == "Value"


def _length_problem(item: ErrorDetails) -> str:
    limits = item.get("ctx", {})
    if item["type"] == "too_long":
        return f"should have at most {limits['max_length']} characters"
    return f"should have at least {limits['min_length']} characters"
