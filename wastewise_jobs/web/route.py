"""A route: what the router, the checks and the OpenAPI document are all made from.

There is no other way to mount a handler, so nothing can be served that is not documented, and
nothing is open that does not say PUBLIC.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from wastewise_jobs.web.caller import ADMIN, NOBODY, READ, WRITE, Caller
from wastewise_jobs.web.problems import FORBIDDEN, ProblemError, Refusal
from wastewise_jobs.web.reading import read_json, read_path, read_query
from wastewise_jobs.wire import AnswerModel, RequestModel

PUBLIC = "public"
REQUEST_ID = web.RequestKey("request_id", str)
CALLER = web.RequestKey("caller", Caller)
JSON = "application/json"


class Parameters(BaseModel):
    """Parameters of a path or a query string: texts, so types are converted."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, alias_generator=to_camel)


class NoParameters(Parameters):
    """There are none, and unknown ones are refused."""


class NoBody(RequestModel):
    """Whatever is sent is not read."""


class RawBody(RequestModel):
    """The handler reads the bytes itself."""


PathT = TypeVar("PathT", bound=Parameters)
QueryT = TypeVar("QueryT", bound=Parameters)
BodyT = TypeVar("BodyT", bound=RequestModel)


@dataclass(frozen=True, slots=True)
class Call(Generic[PathT, QueryT, BodyT]):
    """One request that was let in, with everything in it checked."""

    request: web.Request
    caller: Caller
    path: PathT
    query: QueryT
    body: BodyT


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[PathT, QueryT, BodyT]):
    """One method on one path.

    `answers` maps each status of success to its model, to a media type, or to None for no body;
    `refusals` are those of the handler, the general ones are added by the checks that make them.
    """

    method: str
    path: str
    handler: Callable[[Call[PathT, QueryT, BodyT]], Awaitable[web.StreamResponse]]
    access: str
    tag: str
    summary: str
    answers: Mapping[int, type[AnswerModel] | str | None]
    refusals: Sequence[Refusal] = ()
    in_path: type[PathT]
    in_query: type[QueryT]
    body: type[BodyT]
    body_limit: int = 64 * 1024
    time_limit: float | None = 30.0
    request_headers: Mapping[str, str] | None = None
    rate_limited: bool = False
    also_head: bool = True


class Authenticates(Protocol):
    """Turns the Authorization header into a caller."""

    async def authenticate(self, request: web.Request) -> Caller:
        """Return the caller; raises ProblemError for whatever is not one."""
        ...


class Limits(Protocol):
    """Counts what a caller creates."""

    def admit(self, request: web.Request, caller: Caller) -> None:
        """Count one creation; raises ProblemError when it is one too many."""
        ...


def mount(
    app: web.Application,
    routes: Sequence[Route[Any, Any, Any]],
    *,
    authenticator: Authenticates,
    rate_limit: Limits,
) -> None:
    """Put every route into the router, behind its checks."""
    for route in routes:
        endpoint = _endpoint(route, authenticator, rate_limit)
        app.router.add_route(route.method, route.path, endpoint)
        if route.method == "GET" and route.also_head:
            app.router.add_route("HEAD", route.path, endpoint)


def _endpoint(
    route: Route[Any, Any, Any], authenticator: Authenticates, rate_limit: Limits
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        async with asyncio.timeout(route.time_limit):
            caller = NOBODY
            if route.access != PUBLIC:
                caller = await authenticator.authenticate(request)
                request[CALLER] = caller
                _check_scope(route.access, caller)
            if route.rate_limited:
                rate_limit.admit(request, caller)
            call = Call(
                request=request,
                caller=caller,
                path=read_path(request, route.in_path),
                query=read_query(request, route.in_query),
                body=await _body(request, route),
            )
            return await route.handler(call)

    return endpoint


def _check_scope(scope: str, caller: Caller) -> None:
    if scope not in {READ, WRITE, ADMIN}:
        raise ValueError(f"a route without a known scope: {scope!r}")
    if not caller.may(scope):
        raise ProblemError(
            FORBIDDEN,
            f"this credential does not have the scope {scope}",
            headers={
                "WWW-Authenticate": f'Bearer realm="wastewise-jobs", '
                f'error="insufficient_scope", scope="{scope}"'
            },
        )


async def _body(request: web.Request, route: Route[Any, Any, Any]) -> RequestModel:
    if issubclass(route.body, NoBody | RawBody):
        return route.body.model_construct()
    return await read_json(request, route.body, limit=route.body_limit)


def answer(
    body: AnswerModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The model as a JSON response."""
    return web.Response(
        status=status,
        body=body.model_dump_json(by_alias=True).encode(),
        content_type=JSON,
        headers={"Cache-Control": "no-store"} | dict(headers or {}),
    )
