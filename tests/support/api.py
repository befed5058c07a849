"""A client of the API under test. Every answer is held against the OpenAPI document."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import jwt
import orjson
from aiohttp import web
from jsonschema import Draft202012Validator

from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.model import JobTypeInfo
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.access.auth import create_authenticator
from wastewise_jobs.web.access.keys import KeyStore
from wastewise_jobs.web.app import BODIES, WATCHER, create_app
from wastewise_jobs.web.http.budget import Budget
from wastewise_jobs.web.http.server import listening
from wastewise_jobs.web.watch import JobWatcher

SECRET = "a-secret-of-the-tests-that-is-long-enough"
ANN = UUID("aaaaaaaa-0000-4000-8000-000000000001")
BOB = UUID("bbbbbbbb-0000-4000-8000-000000000002")
ADA = UUID("adadadad-0000-4000-8000-000000000003")
NOBODYS_ID = "00000000-dead-4eef-8000-000000000000"

ANALYSIS_SCHEMA = {
    "type": "object",
    "properties": {
        "files": {"type": "array", "items": {"type": "string"}},
        "months": {"type": "integer", "minimum": 1},
        "deep": {"type": "object", "additionalProperties": True},
    },
    "additionalProperties": False,
}
TYPES = (
    JobTypeInfo("complete_analysis", needs_project=True, input_schema=ANALYSIS_SCHEMA),
    JobTypeInfo("report_generation", queue="reports", priority=7),
    JobTypeInfo(
        "resize",
        input_schema={
            "type": "object",
            "properties": {
                "width": {"type": "integer"},
                "ref": {"type": "string", "format": "uuid"},
            },
            "required": ["width"],
        },
    ),
    JobTypeInfo("regulatory_research", refusal="no endpoint is configured for regulatory research"),
    JobTypeInfo("echo"),
    JobTypeInfo("sweep", admin_only=True),
)
PROJECT = {
    "propertyName": "Oak Court",
    "units": 200,
    "city": "Austin",
    "state": "TX",
    "propertyType": "Garden-Style",
    "equipmentType": "COMPACTOR",
}


def token(user: UUID = ANN, *, admin: bool = False, **claims: Any) -> str:
    payload = {
        "sub": str(user),
        "aud": "authenticated",
        "exp": 4_000_000_000,
        "app_metadata": {"role": "admin"} if admin else {},
    } | claims
    return jwt.encode(payload, SECRET, algorithm="HS256")


class Bell:
    """Remembers who was rung."""

    def __init__(self) -> None:
        self.rings: list[str] = []

    def ring(self, queue: str) -> None:
        self.rings.append(queue)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


@dataclass(slots=True, repr=False)
class Api:
    """The service and a client that speaks as Ann unless told otherwise."""

    url: str
    host: str
    port: int
    session: aiohttp.ClientSession
    pool: Pool
    jobs: JobStore
    bell: Bell
    app: web.Application
    document: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Api({self.url})"

    @property
    def watcher(self) -> JobWatcher:
        return self.app[WATCHER]

    @property
    def app_bodies(self) -> Budget:
        return self.app[BODIES]

    async def request(
        self,
        method: str,
        path: str,
        *,
        user: UUID | None = ANN,
        admin: bool = False,
        bearer: str | None = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        params: Any = None,
    ) -> Reply:
        sent = dict(headers or {})
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        elif user is not None:
            sent["Authorization"] = f"Bearer {token(user, admin=admin)}"
        if json is not None:
            data, sent["Content-Type"] = orjson.dumps(json), "application/json"
        async with self.session.request(
            method, self.url + path, headers=sent, data=data, params=params
        ) as response:
            reply = Reply(response.status, response.headers, await response.read())
        self.check(method, path, reply)
        return reply

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.request("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Reply:
        return await self.request("POST", path, json=json, **options)

    async def put(self, path: str, data: Any, **options: Any) -> Reply:
        return await self.request("PUT", path, data=data, **options)

    async def delete(self, path: str, **options: Any) -> Reply:
        return await self.request("DELETE", path, **options)

    async def analyze(self, **body: Any) -> Reply:
        options = {k: body.pop(k) for k in ("user", "admin", "headers", "bearer") if k in body}
        return await self.post("/api/analyze", {"jobType": "echo"} | body, **options)

    async def new_job(self, **body: Any) -> str:
        reply = await self.analyze(**body)
        assert reply.status == 201, reply.body
        return str(reply.json["jobId"])

    async def new_project(self, **options: Any) -> str:
        reply = await self.post("/api/projects", PROJECT, **options)
        assert reply.status == 201, reply.body
        return str(reply.json["id"])

    def check(self, method: str, path: str, reply: Reply) -> None:
        """What was answered is what the document promises."""
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        operation = self._operation(method, path.partition("?")[0])
        if operation is None:
            return
        documented = operation["responses"].get(str(reply.status))
        assert documented, f"{method} {path} answered {reply.status}: {reply.body[:300]!r}"
        described = documented.get("headers", {})
        for name in ("Location", "Retry-After", "WWW-Authenticate", "X-RateLimit-Limit"):
            assert name in described or name not in reply.headers, f"{path} sent {name}"
        assert "Location" not in described or "Location" in reply.headers, path
        if not reply.body or method == "HEAD":
            return
        media_type = reply.headers["Content-Type"].partition(";")[0]
        assert {media_type, "*/*"} & documented["content"].keys(), media_type
        if media_type == "application/problem+json":
            assert f"`{reply.code}`" in documented["description"], reply.code
        if media_type.endswith("json") and media_type in documented["content"]:
            self._validate(reply.json, documented["content"][media_type]["schema"])

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        for pattern, operations in self.document.get("paths", {}).items():
            regex = re.sub(r"\{[^}]+\}", "[^/]+", pattern)
            if re.fullmatch(regex, path):
                found: dict[str, Any] | None = operations.get(method.lower())
                return found
        return None

    def _validate(self, value: Any, schema: dict[str, Any]) -> None:
        whole = schema | {"components": self.document["components"]}
        Draft202012Validator(whole).validate(value)


@asynccontextmanager
async def serving(pool: Pool, **options: Any) -> AsyncIterator[Api]:
    """The real application on a real socket."""
    types, bell, jobs = JobTypeStore(pool), Bell(), JobStore(pool)
    await types.register(TYPES)
    server = {k: options.pop(k) for k in list(options) if k in {"header_seconds", "stop_seconds"}}
    secret = options.pop("authenticator", None) or create_authenticator(
        key_store=KeyStore(pool), jwt_secret=SECRET
    )
    app = create_app(
        pool=pool,
        job_store=jobs,
        job_types=types,
        project_store=ProjectStore(pool),
        authenticator=secret,
        ring=bell.ring,
        **options,
    )
    async with (
        listening(app, "127.0.0.1", 0, **({"stop_seconds": 5.0} | server)) as address,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        api = Api(address.url, address.host, address.port, session, pool, jobs, bell, app)
        api.document = (await api.get("/openapi.json", user=None)).json
        yield api


async def finished(api: Api, job_id: str) -> Any:
    async def look() -> Any:
        body = (await api.get(f"/api/jobs/{job_id}")).json
        return body if body["timing"]["completedAt"] else None

    return await eventually(look)
