"""What happens to every request: an id, answers to every error, and the same headers on all."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from wastewise_jobs.errors import InvalidInputError, QuotaExceededError
from wastewise_jobs.logs import get_logger
from wastewise_jobs.web.http.limits import RATE_HEADERS
from wastewise_jobs.web.http.problems import (
    BAD_REQUEST,
    EXPECTATION_FAILED,
    INTERNAL_ERROR,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    TOO_LARGE,
    ProblemError,
    Refusal,
    answer,
    from_failure,
    over_quota,
    unacceptable,
)
from wastewise_jobs.web.http.route import REQUEST_ID

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": API_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
STRICT_TRANSPORT = "max-age=31536000"
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_CORS_REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id"
_CORS_ANSWER_HEADERS = (
    "Location, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
    "X-Request-Id"
)
_QUIET_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
# So long without a 503, and an outage is over.
_QUIET_SECONDS = 1.0

_log = get_logger(__name__)


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, bind it to the logs, and log the answer."""
    request[REQUEST_ID] = _request_id(request)
    started = time.monotonic()
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID]):
        response = await handler(request)
        if request.path not in _QUIET_PATHS:
            # The route's pattern, never the path: ids and query strings stay out of the logs.
            resource = request.match_info.route.resource
            _log.info(
                "request_answered",
                method=request.method,
                route=resource.canonical if resource else None,
                status=response.status,
                duration_seconds=round(time.monotonic() - started, 4),
            )
        return response


def _request_id(request: web.BaseRequest) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if _PLAIN_ID.fullmatch(given) else uuid.uuid4().hex


def explain_errors() -> Middleware:
    """Turn every error into problem details; the client never sees a traceback."""
    outage = _Outage()

    @web.middleware
    async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except ProblemError as refused:
            return _answered(request, refused)
        except InvalidInputError as error:
            return _answered(request, unacceptable(error))
        except QuotaExceededError as error:
            return _answered(request, over_quota(error))
        except web.HTTPException as error:
            return _answered(request, _of_router(request, error))
        except Exception as error:  # noqa: BLE001 - around a handler's run: its bug must not end the connection
            problem = from_failure(error)
            if problem.refusal is INTERNAL_ERROR:
                _log.exception("request_crashed")
            elif problem.refusal.status >= _SERVER_ERROR:
                outage.met(error)
            return _answered(request, problem)
        if request.path not in _QUIET_PATHS:
            outage.passed()
        return response

    return explain


class _Outage:
    """Tells that the database is away in two lines, however many requests meet it."""

    def __init__(self) -> None:
        self._refused = 0
        self._last = 0.0

    def met(self, error: Exception) -> None:
        """A request got a 503."""
        self._refused += 1
        self._last = time.monotonic()
        if self._refused == 1:
            _log.warning("request_without_database", error=type(error).__name__)

    def passed(self) -> None:
        """A request was served; one that needed no database proves nothing beside others."""
        if self._refused and time.monotonic() - self._last > _QUIET_SECONDS:
            _log.info("database_came_back", requests_refused=self._refused)
            self._refused = 0


def _answered(request: web.Request, problem: ProblemError) -> web.Response:
    return answer(problem, request_id=request[REQUEST_ID], instance=request.rel_url.raw_path)


def _of_router(request: web.Request, error: web.HTTPException) -> ProblemError:
    """What aiohttp itself raises: unknown paths, wrong methods, and little else."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return ProblemError(
            METHOD_NOT_ALLOWED, f"{request.method} is not possible here", headers={"Allow": allowed}
        )
    if isinstance(error, web.HTTPNotFound):
        return ProblemError(NOT_FOUND, "there is nothing here")
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return ProblemError(TOO_LARGE, "the request is too large")
    if _CLIENT_ERROR <= error.status < _SERVER_ERROR:
        return ProblemError(Refusal(error.status, BAD_REQUEST.code), error.reason)
    return ProblemError(INTERNAL_ERROR, "something went wrong here; the request id names it")


async def answer_expect(request: web.Request) -> web.StreamResponse | None:
    """Refuse every expectation but 100-continue, which is met where the body is read.

    aiohttp calls this before the middlewares; returning None goes on with the request.
    """
    if request.headers["Expect"].lower() == "100-continue":
        return None
    return unmet_expectation(request)


def unmet_expectation(request: web.BaseRequest) -> web.Response:
    """The answer to any other Expect header."""
    problem = ProblemError(EXPECTATION_FAILED, "only 100-continue is expected")
    request_id = _request_id(request)
    response = answer(problem, request_id=request_id, instance=request.rel_url.raw_path)
    response.headers.update({**SECURITY_HEADERS, "X-Request-Id": request_id})
    return response


def answer_options(origins: Collection[str]) -> Middleware:
    """Answer OPTIONS for every path that exists, and preflights of the listed origins."""

    @web.middleware
    async def options(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != hdrs.METH_OPTIONS:
            return await handler(request)
        error = request.match_info.http_exception
        if not isinstance(error, web.HTTPMethodNotAllowed):
            return await handler(request)
        allowed = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
        headers = {"Allow": allowed}
        if request.headers.get("Origin") in origins:
            headers |= {
                "Access-Control-Allow-Methods": allowed,
                "Access-Control-Allow-Headers": _CORS_REQUEST_HEADERS,
                "Access-Control-Max-Age": "600",
            }
        return web.Response(status=204, headers=headers)

    return options


def on_every_answer(
    origins: Collection[str], *, behind_tls: bool
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Set the headers that every answer carries; a handler's own Content-Security-Policy stays."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        if behind_tls:
            response.headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT)
        if REQUEST_ID in request:
            response.headers["X-Request-Id"] = request[REQUEST_ID]
        response.headers.update(request.get(RATE_HEADERS) or {})
        response.headers["Server"] = "wastewise-jobs"
        if not origins:
            return
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        # Never with credentials: the API knows bearer tokens only, so no site can borrow a cookie.
        if origin is not None and origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _CORS_ANSWER_HEADERS

    return prepare
