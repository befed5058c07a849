"""Properties and their files."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from wastewise_jobs.wire.types import AnswerModel, Line, Pagination, RequestModel, _AnyCase

MAX_FILE_BYTES = 10 * 1024 * 1024

FileType = Literal["invoice", "haul_log", "contract", "csv", "other"]
PropertyType = Annotated[
    Literal["Garden-Style", "Mid-Rise", "High-Rise"],
    BeforeValidator(_AnyCase("Garden-Style", "Mid-Rise", "High-Rise")),
]
EquipmentType = Annotated[
    Literal["COMPACTOR", "DUMPSTER", "MIXED"],
    BeforeValidator(_AnyCase("COMPACTOR", "DUMPSTER", "MIXED")),
]


class ProjectRequest(RequestModel):
    """A property whose waste costs are to be analysed."""

    property_name: Annotated[Line, Field(min_length=1, max_length=200)]
    units: Annotated[int, Field(ge=10, le=2000)]
    city: Annotated[Line, Field(min_length=1, max_length=100)]
    state: Annotated[Line, Field(min_length=1, max_length=50)]
    property_type: PropertyType | None = None
    equipment_type: EquipmentType
    containers: Annotated[int, Field(ge=1, le=1000)] | None = None
    container_yards: Annotated[float, Field(gt=0, le=100)] | None = None
    pickups_per_week: Annotated[float, Field(gt=0, le=50)] | None = None


class ProjectAnswer(AnswerModel):
    """A property. Fields of rows that the existing front end wrote may be null."""

    id: UUID
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
    created_at: datetime | None


class ProjectDetails(ProjectAnswer):
    """A property with what its last analysis found."""

    progress: int
    total_savings: float | None
    error_message: str | None
    updated_at: datetime | None


class ProjectList(AnswerModel):
    """One page of properties, newest first."""

    projects: list[ProjectDetails]
    pagination: Pagination


class FileAnswer(AnswerModel):
    """A file of a project."""

    id: UUID
    file_name: str
    file_type: str
    file_size: int | None
    uploaded_at: datetime | None


class FileList(AnswerModel):
    """The files of a project, by name."""

    files: list[FileAnswer]
