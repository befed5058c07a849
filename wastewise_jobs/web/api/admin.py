"""What only admins may do: API keys and the list of job types."""

from datetime import UTC, datetime
from typing import Annotated

from aiohttp import web
from pydantic import Field

from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.web.access.keys import KeyStore
from wastewise_jobs.web.api import tags
from wastewise_jobs.web.api.catalogue import Catalogue
from wastewise_jobs.web.api.views import job_type_answer, key_answer
from wastewise_jobs.web.api.writes import Writes
from wastewise_jobs.web.http.caller import ADMIN
from wastewise_jobs.web.http.problems import (
    INVALID_VALUE,
    JOB_TYPE_NOT_FOUND,
    KEY_NOT_FOUND,
    ProblemError,
)
from wastewise_jobs.web.http.route import Call, NoBody, NoParameters, Parameters, Route, answer
from wastewise_jobs.wire.jobs import JobTypeList
from wastewise_jobs.wire.keys import KeyList, KeyMade, KeyRequest
from wastewise_jobs.wire.types import FieldProblem, WireUuid


class KeyInPath(Parameters):
    """An API key, by its id or its public id."""

    id: Annotated[str, Field(pattern=r"^[0-9A-Fa-f-]{16,36}$")]


class JobTypeInPath(Parameters):
    """A job type, by its name."""

    job_type: Annotated[str, Field(min_length=1, max_length=63)]


class KeyListQuery(Parameters):
    """Whose keys."""

    user_id: WireUuid | None = None


class AdminResource:
    """The handlers under /api/admin."""

    def __init__(self, *, keys: KeyStore, catalogue: Catalogue, writes: Writes) -> None:
        self._keys = keys
        self._catalogue = catalogue
        self._writes = writes

    async def create_key(
        self, call: Call[NoParameters, NoParameters, KeyRequest]
    ) -> web.StreamResponse:
        """Make an API key; the answer is the only place where it can be read."""
        _check_usable(call.body)
        async with self._writes.transaction(call.caller) as connection:
            info, key = await KeyStore(connection).create(
                call.body.user_id,
                scopes=call.body.scopes,
                name=call.body.name,
                expires_at=call.body.expires_at,
            )
        return answer(KeyMade(**dict(key_answer(info)), key=key), status=201)

    async def list_keys(self, call: Call[NoParameters, KeyListQuery, NoBody]) -> web.StreamResponse:
        """The keys without their secrets, revoked ones too."""
        keys = await self._keys.list_keys(user_id=call.query.user_id)
        return answer(KeyList(keys=[key_answer(key) for key in keys]))

    async def revoke_key(self, call: Call[KeyInPath, NoParameters, NoBody]) -> web.StreamResponse:
        """Revoke the key; it stops working within five seconds."""
        async with self._writes.transaction(call.caller) as connection:
            revoked = await KeyStore(connection).revoke(call.path.id)
        if not revoked:
            raise ProblemError(KEY_NOT_FOUND, "there is no such key")
        return web.Response(status=204)

    async def job_types(self, call: Call[NoParameters, NoParameters, NoBody]) -> web.StreamResponse:
        """Every job type that can be asked for, with its input schema."""
        del call
        known = await self._catalogue.all()
        return answer(
            JobTypeList(job_types=[job_type_answer(known[name].info) for name in sorted(known)])
        )

    async def retire_job_type(
        self, call: Call[JobTypeInPath, NoParameters, NoBody]
    ) -> web.StreamResponse:
        """Take no more jobs of the type; those that wait stay."""
        async with self._writes.transaction(call.caller) as connection:
            retired = await JobTypeStore(connection).retire(call.path.job_type)
        await self._catalogue.look()
        if not retired:
            raise ProblemError(JOB_TYPE_NOT_FOUND, "there is no such job type")
        return web.Response(status=204)


def routes(admin: AdminResource) -> tuple[Route, ...]:
    return (
        Route(
            "POST",
            "/api/admin/keys",
            admin.create_key,
            ADMIN,
            "Make an API key; its text is shown this once",
            answers={201: KeyMade},
            tag=tags.ADMIN,
        ),
        Route(
            "GET",
            "/api/admin/keys",
            admin.list_keys,
            ADMIN,
            "List API keys",
            answers={200: KeyList},
            tag=tags.ADMIN,
        ),
        Route(
            "DELETE",
            "/api/admin/keys/{id}",
            admin.revoke_key,
            ADMIN,
            "Revoke an API key; it stops working within five seconds",
            answers={204: None},
            refusals=(KEY_NOT_FOUND,),
            tag=tags.ADMIN,
        ),
        Route(
            "GET",
            "/api/admin/job-types",
            admin.job_types,
            ADMIN,
            "List the job types with their input schemas",
            answers={200: JobTypeList},
            tag=tags.ADMIN,
        ),
        Route(
            "DELETE",
            "/api/admin/job-types/{jobType}",
            admin.retire_job_type,
            ADMIN,
            "Retire a job type: no new jobs until a worker registers it again",
            answers={204: None},
            refusals=(JOB_TYPE_NOT_FOUND,),
            tag=tags.ADMIN,
        ),
    )


def _check_usable(body: KeyRequest) -> None:
    """A key that could never be used is a slip, and better said at once."""
    problems = {}
    if body.user_id.int == 0:
        problems["userId"] = "is nobody's"
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        problems["expiresAt"] = "is past"
    for field, problem in problems.items():
        raise ProblemError(
            INVALID_VALUE,
            f"{field}: {problem}",
            field=field,
            errors=[FieldProblem(field=field, problem=problem)],
        )
