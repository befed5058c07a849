"""A route: what the router, the checks and the OpenAPI document are all made from.

There is no other way to mount a handler, so nothing can be served that is not documented, and
nothing is open that does not say PUBLIC.
"""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from http import HTTPStatus
from typing import Any, Generic, TypeAlias, TypeVar, get_args, get_type_hints

from aiohttp import web
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from wastewise_jobs.web.http.budget import Budget
from wastewise_jobs.web.http.caller import ADMIN, NOBODY, READ, WRITE, Caller
from wastewise_jobs.web.http.limits import RateLimit
from wastewise_jobs.web.http.problems import FORBIDDEN, ProblemError, Refusal
from wastewise_jobs.web.http.reading import BODY, read_json, read_path, read_query
from wastewise_jobs.wire.types import AnswerModel, RequestModel

PUBLIC = "public"
REQUEST_ID = web.RequestKey("request_id", str)
CALLER = web.RequestKey("caller", Caller)
# A connection that hangs is given up a little later than the statement on it.
READ_SECONDS = 8.0
WRITE_SECONDS = 30.0
_PART = re.compile(r"\{(\w+)\}")
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


@dataclass(frozen=True, slots=True)
class CallParts:
    """The models of what a handler takes, as its annotation `Call[path, query, body]` says."""

    path: type[Parameters]
    query: type[Parameters]
    body: type[RequestModel]


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path.

    `answers` maps each status of success to its model, to a media type, or to None for no body;
    `refusals` are those of the handler, the general ones are added by the checks that make them.
    `located` answers carry the Location of what was made. `time_limit` None gives reads a short
    limit and everything else a longer one; math.inf leaves it to the handler.
    """

    method: str
    path: str
    handler: Callable[[Call[Any, Any, Any]], Awaitable[web.StreamResponse]]
    access: str
    summary: str
    _: KW_ONLY
    answers: Mapping[int, type[AnswerModel] | str | None]
    refusals: Sequence[Refusal] = ()
    tag: str = ""
    body_limit: int = 64 * 1024
    time_limit: float | None = None
    request_headers: Mapping[str, str] = field(default_factory=dict)
    rate_limited: bool = False
    also_head: bool = True
    located: bool = False

    @property
    def parts(self) -> CallParts:
        """What the handler takes."""
        return CallParts(*get_args(get_type_hints(self.handler)["call"]))

    @property
    def seconds(self) -> float | None:
        """How long the whole request may take; None is for ever."""
        if self.time_limit is None:
            return READ_SECONDS if self.method == "GET" else WRITE_SECONDS
        return self.time_limit if math.isfinite(self.time_limit) else None


# Turns the Authorization header into a caller; raises ProblemError for whatever is not one.
Authenticate: TypeAlias = Callable[[web.Request], Awaitable[Caller]]


def mount(
    app: web.Application,
    routes: Sequence[Route],
    *,
    authenticate: Authenticate,
    rate_limit: RateLimit,
    bodies: Budget,
    expect: Callable[[web.Request], Awaitable[web.StreamResponse | None]],
) -> None:
    """Put every route into the router, behind its checks; `expect` answers the Expect header."""
    for route in routes:
        endpoint = _endpoint(route, authenticate, rate_limit, bodies)
        # By itself aiohttp lets no brace into a part of a path; a file may be called a{1}.csv.
        path = _PART.sub(r"{\1:[^/]+}", route.path)
        app.router.add_route(route.method, path, endpoint, expect_handler=expect)
        if route.method == "GET" and route.also_head:
            app.router.add_route("HEAD", path, endpoint, expect_handler=expect)


def _endpoint(
    route: Route, authenticate: Authenticate, rate_limit: RateLimit, bodies: Budget
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    parts = route.parts

    async def endpoint(request: web.Request) -> web.StreamResponse:
        async with asyncio.timeout(route.seconds):
            caller = NOBODY
            if route.access != PUBLIC:
                caller = await authenticate(request)
                request[CALLER] = caller
                _check_scope(route.access, caller)
            with bodies.hold(caller) as request[BODY]:
                call = Call(
                    request=request,
                    caller=caller,
                    path=read_path(request, parts.path),
                    query=read_query(request, parts.query),
                    body=await _body(request, parts.body, route.body_limit),
                )
                # Behind the checks: a request that is refused anyway creates nothing.
                if route.rate_limited:
                    return await _counted(route, call, rate_limit)
                return await route.handler(call)

    return endpoint


async def _counted(
    route: Route, call: Call[Any, Any, Any], rate_limit: RateLimit
) -> web.StreamResponse:
    rate_limit.admit(call.request, call.caller)
    try:
        response = await route.handler(call)
    except ProblemError:
        rate_limit.give_back(call.request, call.caller)
        raise
    # The same request made it before: who repeats safely pays once.
    if response.status != HTTPStatus.CREATED:
        rate_limit.give_back(call.request, call.caller)
    return response


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


async def _body(request: web.Request, model: type[RequestModel], limit: int) -> RequestModel:
    if issubclass(model, NoBody | RawBody):
        return model.model_construct()
    return await read_json(request, model, limit=limit)


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
