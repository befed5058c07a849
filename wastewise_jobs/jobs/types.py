"""The registry of job types in the database: what may be enqueued, and how it is validated.

Processes that carry handlers register their types; a type stays known until it is retired, whether
a worker is up or not, so that jobs can be enqueued while every worker is down.
"""

from collections.abc import Sequence

import orjson

from wastewise_jobs.db.pool import Executor
from wastewise_jobs.jobs import sql
from wastewise_jobs.jobs.model import JobTypeInfo


class JobTypeStore:
    """Reads and writes the rows of `job_types`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def register(self, infos: Sequence[JobTypeInfo]) -> None:
        """Add the types or bring them up to date; a retired one is known again."""
        ordered = sorted(infos, key=lambda info: info.job_type)
        columns = {
            name: [getattr(info, name) for info in ordered]
            for name in JobTypeInfo.__dataclass_fields__
        }
        # As text: an application's own pool knows no codec for jsonb.
        schemas = columns["input_schema"]
        columns["input_schema"] = [orjson.dumps(schema).decode() for schema in schemas]
        await self._executor.execute(sql.REGISTER_TYPE, *columns.values())

    async def retire(self, job_type: str) -> bool:
        """Forget the type; False when it was not known. Its unfinished jobs stay."""
        tag: str = await self._executor.execute(sql.RETIRE_TYPE, job_type)
        return tag == "UPDATE 1"

    async def names(self) -> set[str]:
        """Return the names of all known types."""
        return {row["job_type"] for row in await self._executor.fetch(sql.TYPES)}

    async def all(self) -> dict[str, JobTypeInfo]:
        """Return every known type by its name."""
        rows = await self._executor.fetch(sql.TYPES)
        return {row["job_type"]: JobTypeInfo(*row) for row in rows}
