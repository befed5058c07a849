"""The bodies of the HTTP API as pydantic models, shared by the server and the client.

Names are camelCase on the wire. Requests are strict and refuse unknown fields: a mistyped option
must never be dropped in silence. Answers are lenient, so that a client survives a newer server.
"""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

MAX_PAGE = 200
DEFAULT_PAGE = 50
EARLIEST_YEAR, LATEST_YEAR = 1970, 2999


_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def _uuid(value: object) -> object:
    if isinstance(value, UUID):
        return value
    # UUID() itself also takes braces, urn: and missing hyphens.
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError("must be a UUID such as 7b0f9a52-3c1d-4e8f-9a6b-2d5e8c1f0a37")
    return UUID(value)


def _moment(value: object) -> object:
    if isinstance(value, str):
        if not _RFC3339.fullmatch(value):
            raise ValueError("must be an RFC 3339 time with an offset, 2026-01-31T08:00:00+01:00")
        try:
            value = datetime.fromisoformat(value.upper())
        except ValueError as error:
            raise ValueError(f"is no such time: {error}") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("must be an RFC 3339 time with an offset")
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the calendar") from None
    # PostgreSQL would keep the very first moment as -infinity, with which it cannot reckon.
    if moment.year < EARLIEST_YEAR:
        raise ValueError(f"must not be before the year {EARLIEST_YEAR}")
    if moment.year > LATEST_YEAR:
        raise ValueError(f"must not be after the year {LATEST_YEAR}")
    return moment


def _plain_line(value: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        raise ValueError("must not hold control characters or line breaks")
    if value != value.strip():
        raise ValueError("must not begin or end with blanks")
    return value


class _AnyCase:
    """Accepts one of a few names in any case and gives the canonical one."""

    def __init__(self, *names: str) -> None:
        self._canonical = {name.lower(): name for name in names}

    def __call__(self, value: object) -> object:
        if isinstance(value, str):
            return self._canonical.get(value.lower(), value)
        return value


WireUuid = Annotated[
    UUID, BeforeValidator(_uuid), WithJsonSchema({"type": "string", "format": "uuid"})
]
Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
Line = Annotated[str, AfterValidator(_plain_line)]
JsonObject = Annotated[dict[str, Any], Field(default_factory=dict)]


class RequestModel(BaseModel):
    """A body that a client sends."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
    )


class AnswerModel(BaseModel):
    """A body that the server sends."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
    )


class Pagination(AnswerModel):
    """Where a list goes on: give `nextCursor` as `cursor` to read the next page."""

    limit: int
    has_more: bool
    next_cursor: str | None


class HealthAnswer(AnswerModel):
    """`status` in one word, and each part in a few."""

    status: str
    checks: dict[str, str]


class FieldProblem(AnswerModel):
    """What is wrong with one field."""

    field: str
    problem: str


class Problem(AnswerModel):
    """RFC 9457 problem details. `code` is stable; `detail` is for people and may change."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    instance: str | None = None
    field: str | None = None
    errors: list[FieldProblem] | None = None
    quota: str | None = None
    limit: int | None = None
    used: int | None = None
