"""The only module that reads and writes projects, their files and the files' contents.

Every method takes the user whose rows it may touch; None means everybody's (admins, and handlers
that act for the owner of a job). Somebody else's project is answered exactly like a missing one.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg

from wastewise_jobs.db import quotas
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.projects import sql
from wastewise_jobs.projects.model import (
    MAX_FILES,
    Deletion,
    NewProject,
    NotPut,
    Project,
    ProjectFile,
    PutFile,
    StoredFile,
)


class ProjectStore:
    """Projects and files, on connections of the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self, project: NewProject, *, user_id: UUID, within: Connection | None = None
    ) -> Project:
        """Insert the project for the user; `within` is the connection of a transaction."""
        row = await (within or self._pool).fetchrow(
            sql.CREATE,
            user_id,
            project.property_name,
            project.units,
            project.city,
            project.state,
            project.property_type,
            project.equipment_type,
            project.containers,
            project.container_yards,
            project.pickups_per_week,
        )
        if row is None:
            raise LookupError("INSERT ... RETURNING returned nothing")
        return Project(*row)

    async def get(self, project_id: UUID, *, user_id: UUID | None) -> Project | None:
        """Return the project; None when the user has no such project."""
        row = await self._pool.fetchrow(sql.GET, project_id, user_id)
        return Project(*row) if row else None

    async def list_projects(
        self,
        *,
        user_id: UUID | None,
        limit: int,
        before: tuple[datetime | None, UUID] | None = None,
    ) -> list[Project]:
        """Return up to `limit` projects, newest first, behind the (created_at, id) `before`."""
        created_before, id_before = before or (None, None)
        page = (created_before, id_before, limit)
        if user_id is None:
            rows = await self._pool.fetch(sql.LIST_ALL, *page)
        else:
            rows = await self._pool.fetch(sql.LIST_OF_USER, *page, user_id)
        return [Project(*row) for row in rows]

    async def owners(self, project_ids: Sequence[UUID]) -> dict[UUID, UUID]:
        """Return the owner of each of these projects that exists."""
        rows = await self._pool.fetch(sql.OWNERS, project_ids)
        return {row["id"]: row["user_id"] for row in rows}

    async def delete(
        self, project_id: UUID, *, user_id: UUID | None, within: Connection | None = None
    ) -> Deletion | None:
        """Delete the project with its files and finished jobs; None when the user has none such.

        `within` is the connection of a transaction.
        """
        async with self._transaction(within) as connection:
            # The jobs before the project, as every transition does. A job that comes in between
            # is pending and is found by the look that follows.
            await connection.execute(sql.LOCK_JOBS, project_id, user_id)
            if not await _lock(connection, sql.LOCK, project_id, user_id):
                return None
            if await connection.fetchval(sql.HAS_UNFINISHED_JOBS, project_id):
                return Deletion.BUSY
            await connection.execute(sql.DELETE, project_id)
            return Deletion.DELETED

    async def put_file(
        self,
        project_id: UUID,
        *,
        user_id: UUID | None,
        file_name: str,
        file_type: str,
        mime_type: str | None,
        content: bytes,
        within: Connection | None = None,
        limited: bool = False,
    ) -> PutFile | NotPut:
        """Store or replace the file of that name.

        `within` is the connection of a transaction. Raises QuotaExceededError when the file is
        `limited` by its user's quota and too large for what is left of it.
        """
        async with self._transaction(within) as connection:
            # Locked, so that two uploads of one name, or at the limit, come one after the other.
            if not await _lock(connection, sql.LOCK_FOR_FILES, project_id, user_id):
                return NotPut.NO_PROJECT
            if limited:
                await _take_bytes(connection, project_id, file_name, len(content))
            values = (project_id, file_name, file_type, len(content), mime_type)
            row = await connection.fetchrow(sql.REPLACE_FILE, *values)
            replaced = row is not None
            if row is None:
                if await connection.fetchval(sql.COUNT_FILES, project_id) >= MAX_FILES:
                    return NotPut.TOO_MANY
                row = await connection.fetchrow(sql.INSERT_FILE, *values)
            if row is None:
                raise LookupError("INSERT ... RETURNING returned nothing")
            file = ProjectFile(*row)
            await connection.execute(sql.PUT_CONTENT, file.id, project_id, file_name, content)
            return PutFile(file, replaced)

    async def list_files(
        self, project_id: UUID, *, user_id: UUID | None
    ) -> list[ProjectFile] | None:
        """Return the files by name; None when the user has no such project."""
        if await self._pool.fetchval(sql.EXISTS, project_id, user_id) is None:
            return None
        return [ProjectFile(*row) for row in await self._pool.fetch(sql.LIST_FILES, project_id)]

    async def open_file(
        self, project_id: UUID, file_name: str, *, user_id: UUID | None, piece: int
    ) -> StoredFile | None:
        """Return the file with its first `piece` bytes; None when it, or its project, is gone."""
        row = await self._pool.fetchrow(sql.OPEN_FILE, project_id, file_name, user_id, piece)
        return StoredFile(*row) if row else None

    async def read_file(self, file: StoredFile, start: int, *, piece: int) -> bytes | None:
        """Return the next bytes; None when the file is no longer the one that was opened."""
        content: bytes | None = await self._pool.fetchval(
            sql.READ_FILE, file.id, file.version, start + 1, piece
        )
        return content

    async def delete_file(
        self,
        project_id: UUID,
        file_name: str,
        *,
        user_id: UUID | None,
        within: Connection | None = None,
    ) -> bool | None:
        """Return whether there was such a file; None when the user has no such project."""
        executor = within or self._pool
        if await executor.fetchval(sql.EXISTS, project_id, user_id) is None:
            return None
        return bool(await executor.fetch(sql.DELETE_FILE, project_id, file_name))

    @asynccontextmanager
    async def _transaction(self, within: Connection | None) -> AsyncIterator[Connection]:
        if within is not None:
            yield within
            return
        async with self._pool.acquire() as connection, connection.transaction():
            yield connection


async def _take_bytes(connection: Connection, project_id: UUID, file_name: str, size: int) -> None:
    # Under the project's lock: nobody else replaces the same file meanwhile.
    row = await connection.fetchrow(sql.OWNER_AND_SIZE, project_id, file_name)
    if row is not None:
        await quotas.take(connection, row["user_id"], stored_bytes=max(0, size - row["size"]))


async def _lock(
    connection: Connection, statement: str, project_id: UUID, user_id: UUID | None
) -> bool:
    row: asyncpg.Record | None = await connection.fetchrow(statement, project_id, user_id)
    return row is not None
