"""API keys."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from wastewise_jobs.wire.types import AnswerModel, Line, Moment, RequestModel, WireUuid

Scope = Literal["read", "write", "admin"]


class KeyRequest(RequestModel):
    """An API key to make. It acts as `userId`, limited to `scopes`."""

    user_id: WireUuid
    name: Annotated[Line, Field(max_length=100)] = ""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)]
    expires_at: Moment | None = None


class KeyAnswer(AnswerModel):
    """An API key without its secret."""

    id: UUID
    public_id: str
    user_id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyMade(KeyAnswer):
    """A new API key; `key` is shown this once and kept nowhere."""

    key: str


class KeyList(AnswerModel):
    """API keys, newest first."""

    keys: list[KeyAnswer]
