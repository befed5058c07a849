"""Parameters of paths and query strings that more than one resource takes."""

from typing import Annotated, Literal

from pydantic import Field

from wastewise_jobs.web.http.route import Parameters
from wastewise_jobs.wire.types import DEFAULT_PAGE, MAX_PAGE, WireUuid

Limit = Annotated[int, Field(ge=1, le=MAX_PAGE)]


class IdInPath(Parameters):
    """The id of what the path names."""

    id: WireUuid


class Page(Parameters):
    """Which part of a list."""

    limit: Limit = DEFAULT_PAGE
    cursor: str | None = Field(None, description="nextCursor of the page before")


class ReportInPath(IdInPath):
    """A report of a job."""

    format: Literal["html", "xlsx"]


class FileInPath(IdInPath):
    """A file of a project."""

    filename: str
