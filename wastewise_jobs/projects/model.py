"""What a project and its files are: the rows as Python values. Pure data, no I/O.

Rows that the existing front end wrote may lack what we always write, hence the many Nones.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

MAX_FILES = 100


@dataclass(frozen=True, slots=True)
class NewProject:
    """A property to create."""

    property_name: str
    units: int
    city: str
    state: str
    equipment_type: str
    property_type: str | None = None
    containers: int | None = None
    container_yards: float | None = None
    pickups_per_week: float | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """A property, with what its last analysis found."""

    id: UUID
    user_id: UUID
    property_name: str
    units: int
    city: str
    state: str
    property_type: str | None
    equipment_type: str | None
    containers: int | None
    container_yards: float | None
    pickups_per_week: float | None
    status: str
    progress: int
    total_savings: float | None
    error_message: str | None
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """A file of a project, without its content."""

    id: UUID
    project_id: UUID
    file_name: str
    file_type: str
    file_size: int | None
    mime_type: str | None
    uploaded_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file and the beginning of its content; `version` is of what was found at that moment."""

    id: UUID
    mime_type: str | None
    size: int
    version: str
    head: bytes


class Deletion(StrEnum):
    """What became of the wish to delete a project; while it has unfinished jobs it stays."""

    DELETED = "deleted"
    BUSY = "busy"


class NotPut(StrEnum):
    """Why a file was not stored: no such project, or one that holds its share."""

    NO_PROJECT = "not_found"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class PutFile:
    """What became of an upload; `replaced` when a file of that name was there before."""

    file: ProjectFile
    replaced: bool
