"""The job types that can be asked for, as the database knows them, with their input schemas.

Looked at again every few seconds, and at once when somebody asks for a type that is not there: a
worker may have registered it a moment ago.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError as SchemaViolation
from referencing import Registry
from referencing.exceptions import Unresolvable

from wastewise_jobs.jobs.model import JobTypeInfo
from wastewise_jobs.jobs.storable import clean_text
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.web.http.problems import INVALID_INPUT, UNKNOWN_JOB_TYPE, ProblemError
from wastewise_jobs.wire.types import FieldProblem

FRESH_SECONDS = 3.0
_MOST_ERRORS = 20
_LONGEST_PROBLEM = 300

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownType:
    """A job type and the validator of its inputs."""

    info: JobTypeInfo
    validator: Draft202012Validator

    def check(self, value: Mapping[str, Any]) -> None:
        """Raise ProblemError that names every field the schema refuses."""
        try:
            found = list(itertools.islice(self.validator.iter_errors(value), _MOST_ERRORS))
        except (Unresolvable, jsonschema.exceptions.SchemaError, RecursionError) as error:
            # The schema is at fault, not the client: the run validates the input itself.
            _log.warning(
                "input_schema_unusable", job_type=self.info.job_type, error=type(error).__name__
            )
            return
        if not found:
            return
        problems = [_field_problem(error) for error in found]
        first = problems[0]
        raise ProblemError(
            INVALID_INPUT, f"{first.field}: {first.problem}", field=first.field, errors=problems
        )


class Catalogue:
    """Reads the job types through a cache of a few seconds."""

    def __init__(self, store: JobTypeStore, *, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._store = store
        self._fresh_seconds = fresh_seconds
        self._known: Mapping[str, KnownType] = {}
        self._loaded_at = -fresh_seconds
        self._loads = 0
        self._loading = asyncio.Lock()

    async def get(self, job_type: str) -> KnownType:
        """Return the type; raises ProblemError with the list of those that exist."""
        known = await self.all()
        if job_type not in known:
            known = await self._load()
        if job_type not in known:
            names = ", ".join(sorted(known)) or "none"
            problem = f"is no known job type; known are: {names}"
            raise ProblemError(
                UNKNOWN_JOB_TYPE,
                f"jobType: {problem}",
                field="jobType",
                errors=[FieldProblem(field="jobType", problem=problem)],
            )
        return known[job_type]

    async def all(self) -> Mapping[str, KnownType]:
        """Return every known type by its name."""
        if time.monotonic() - self._loaded_at > self._fresh_seconds:
            return await self._load()
        return self._known

    async def look(self) -> None:
        """See at once what has changed; other processes follow in seconds."""
        await self._load()

    async def _load(self) -> Mapping[str, KnownType]:
        loads = self._loads
        async with self._loading:
            # Whoever held the lock has just looked for us too.
            if self._loads == loads:
                infos = await self._store.all()
                self._known = {name: self._compiled(info) for name, info in infos.items()}
                self._loaded_at = time.monotonic()
                self._loads += 1
        return self._known

    def _compiled(self, info: JobTypeInfo) -> KnownType:
        before = self._known.get(info.job_type)
        if before is not None and before.info.input_schema == info.input_schema:
            return KnownType(info, before.validator)
        # An empty registry: a schema must never make us fetch something. Of the formats only
        # the one whose check needs no further package, so that every installation checks alike.
        return KnownType(
            info,
            Draft202012Validator(
                info.input_schema, registry=Registry(), format_checker=FormatChecker(["uuid"])
            ),
        )


def _field_problem(error: SchemaViolation) -> FieldProblem:
    path = ["inputData", *(str(part) for part in error.absolute_path)]
    problem = str(error.message)
    wanted: Any = error.validator_value
    if error.validator == "required" and isinstance(error.instance, Mapping):
        path += [str(name) for name in wanted if name not in error.instance][:1]
        problem = "is required"
    elif error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        listed = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
        path += [str(name) for name in error.instance if name not in listed][:1]
        problem = "is not a known field"
    return FieldProblem(
        field=clean_text(".".join(path), _LONGEST_PROBLEM),
        problem=clean_text(problem, _LONGEST_PROBLEM),
    )
