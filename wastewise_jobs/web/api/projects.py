"""Properties and their files over HTTP."""

from typing import assert_never

from aiohttp import web

from wastewise_jobs.db import quotas
from wastewise_jobs.projects.model import Deletion, NewProject, Project
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.api import tags
from wastewise_jobs.web.api.views import project_answer, project_details
from wastewise_jobs.web.api.writes import Writes
from wastewise_jobs.web.http.caller import READ, WRITE
from wastewise_jobs.web.http.cursor import moment_cursor, read_row_cursor
from wastewise_jobs.web.http.parameters import IdInPath, Page
from wastewise_jobs.web.http.problems import (
    CONSTRAINT_VIOLATED,
    INVALID_CURSOR,
    PROJECT_BUSY,
    PROJECT_NOT_FOUND,
    QUOTA_EXCEEDED,
    ProblemError,
    no_such_project,
)
from wastewise_jobs.web.http.route import (
    Call,
    NoBody,
    NoParameters,
    Route,
    answer,
)
from wastewise_jobs.wire.projects import ProjectAnswer, ProjectDetails, ProjectList, ProjectRequest
from wastewise_jobs.wire.types import Pagination


class ProjectsResource:
    """The handlers of projects."""

    def __init__(self, *, store: ProjectStore, writes: Writes) -> None:
        self._store = store
        self._writes = writes

    async def create(
        self, call: Call[NoParameters, NoParameters, ProjectRequest]
    ) -> web.StreamResponse:
        user_id = call.caller.user_id
        async with self._writes.transaction(call.caller) as connection:
            if not call.caller.admin:
                await quotas.take(connection, user_id, projects=1)
            project = await self._store.create(
                NewProject(**call.body.model_dump()), user_id=user_id, within=connection
            )
        return answer(
            project_answer(project),
            status=201,
            headers={"Location": f"/api/projects/{project.id}"},
        )

    async def get(self, call: Call[IdInPath, NoParameters, NoBody]) -> web.StreamResponse:
        project = await self._store.get(call.path.id, user_id=call.caller.sees_only)
        if project is None:
            raise no_such_project()
        return answer(project_details(project))

    async def list_projects(self, call: Call[NoParameters, Page, NoBody]) -> web.StreamResponse:
        limit = call.query.limit
        before = read_row_cursor("projects", call.query.cursor)
        projects = await self._store.list_projects(
            user_id=call.caller.sees_only, limit=limit + 1, before=before
        )
        page, more = projects[:limit], len(projects) > limit
        return answer(
            ProjectList(
                projects=[project_details(project) for project in page],
                pagination=Pagination(
                    limit=limit, has_more=more, next_cursor=_cursor(page[-1]) if more else None
                ),
            )
        )

    async def delete(self, call: Call[IdInPath, NoParameters, NoBody]) -> web.StreamResponse:
        """Delete the property with its files and finished jobs."""
        async with self._writes.transaction(call.caller) as connection:
            done = await self._store.delete(
                call.path.id, user_id=call.caller.sees_only, within=connection
            )
        match done:
            case Deletion.DELETED:
                return web.Response(status=204)
            case Deletion.BUSY:
                raise ProblemError(PROJECT_BUSY, "cancel the project's unfinished jobs first")
            case None:
                raise no_such_project()
            case unreachable:
                assert_never(unreachable)


def routes(projects: ProjectsResource) -> tuple[Route, ...]:
    return (
        Route(
            "POST",
            "/api/projects",
            projects.create,
            WRITE,
            "Create a property",
            answers={201: ProjectAnswer},
            refusals=(CONSTRAINT_VIOLATED, QUOTA_EXCEEDED),
            located=True,
            tag=tags.PROJECTS,
        ),
        Route(
            "GET",
            "/api/projects",
            projects.list_projects,
            READ,
            "List properties, newest first; admins see everybody's",
            answers={200: ProjectList},
            refusals=(INVALID_CURSOR,),
            tag=tags.PROJECTS,
        ),
        Route(
            "GET",
            "/api/projects/{id}",
            projects.get,
            READ,
            "Look at a property",
            answers={200: ProjectDetails},
            refusals=(PROJECT_NOT_FOUND,),
            tag=tags.PROJECTS,
        ),
        Route(
            "DELETE",
            "/api/projects/{id}",
            projects.delete,
            WRITE,
            "Delete a property with its files and finished jobs",
            answers={204: None},
            refusals=(PROJECT_NOT_FOUND, PROJECT_BUSY, CONSTRAINT_VIOLATED),
            tag=tags.PROJECTS,
        ),
    )


def _cursor(project: Project) -> str:
    return moment_cursor("projects", project.created_at, project.id)
