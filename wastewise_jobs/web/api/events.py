"""Server-sent events of one job: `status` when its status changes, `progress` in between.

Every event holds the whole state, so an event that is missed is made good by the next one. Its id
is the version of the row: a stream that comes back with the last id it saw, to this process or to
another, gets the present state only if it is a newer one.
"""

import asyncio
import math

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from wastewise_jobs.jobs.model import JobView
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.logs import get_logger
from wastewise_jobs.web.api import tags
from wastewise_jobs.web.api.views import job_answer
from wastewise_jobs.web.http.budget import Budget, Held
from wastewise_jobs.web.http.caller import READ
from wastewise_jobs.web.http.limits import Gate
from wastewise_jobs.web.http.parameters import IdInPath
from wastewise_jobs.web.http.problems import (
    JOB_NOT_FOUND,
    TOO_MANY_STREAMS,
    UNAUTHENTICATED,
    ProblemError,
    no_such_job,
)
from wastewise_jobs.web.http.route import (
    READ_SECONDS,
    Authenticate,
    Call,
    NoBody,
    NoParameters,
    Route,
)
from wastewise_jobs.web.watch import JobWatcher, version

_MOST_STREAMS = 20
_PING_SECONDS = 15.0
_SEND_SECONDS = 30.0
_COME_BACK_MILLISECONDS = 2000

_log = get_logger(__name__)


class EventsResource:
    """The handler of a job's event stream."""

    def __init__(
        self,
        *,
        store: JobStore,
        watcher: JobWatcher,
        authenticate: Authenticate,
        answers: Budget,
        most_streams: int = _MOST_STREAMS,
    ) -> None:
        self._store = store
        self._authenticate = authenticate
        self._watcher = watcher
        self._answers = answers
        self._streams = Gate(most_streams, TOO_MANY_STREAMS, "event streams")

    async def events(self, call: Call[IdInPath, NoParameters, NoBody]) -> web.StreamResponse:
        """Stream until the job has finished; 204 when there is nothing more to say."""
        async with asyncio.timeout(READ_SECONDS):
            view = await self._store.get(call.path.id, user_id=call.caller.sees_only)
        if view is None:
            raise no_such_job()
        seen = call.request.headers.get("Last-Event-ID")
        if view.status.finished and seen == version(view):
            # The one answer at which a browser stops coming back.
            return web.Response(status=204)
        with self._streams.enter(call.caller), self._answers.hold(call.caller) as held:
            return await self._stream(call.request, view, seen, held)

    async def _stream(
        self, request: web.Request, view: JobView, seen: str | None, held: Held
    ) -> EventSourceResponse:
        response = EventSourceResponse(ping_interval=_PING_SECONDS, send_timeout=_SEND_SECONDS)
        await response.prepare(request)
        try:
            async with response:
                await self._send_all(request, response, view, seen, held)
        except (ConnectionResetError, TimeoutError):
            _log.debug("event_stream_broken", job_id=str(view.id))
        except asyncio.CancelledError:
            raise
        except ProblemError as problem:
            if problem.refusal is UNAUTHENTICATED:
                _log.info("event_stream_unauthorized", job_id=str(view.id))
            else:
                _log.info("event_stream_failed", job_id=str(view.id), error=problem.refusal.code)
        except Exception as error:  # noqa: BLE001 - around a handler's run: the answer has begun, so it can only end
            _log.warning("event_stream_failed", job_id=str(view.id), error=type(error).__name__)
        return response

    async def _send_all(
        self,
        request: web.Request,
        response: EventSourceResponse,
        view: JobView,
        seen: str | None,
        held: Held,
    ) -> None:
        with self._watcher.watch(view) as watch:
            if seen != version(view):
                await _send(response, "status", view, held)
            status = view.status
            while not view.status.finished:
                newer = await watch.next()
                if newer is None:
                    return
                # A stream may outlive its credential: nothing is told to one that was revoked.
                await self._authenticate(request)
                view = newer
                event = "progress" if view.status == status else "status"
                await _send(response, event, view, held)
                status = view.status


def routes(streams: EventsResource) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            "/api/jobs/{id}/events",
            streams.events,
            READ,
            "Follow a job: server-sent events status and progress, with the whole job in each",
            answers={200: "text/event-stream", 204: None},
            refusals=(JOB_NOT_FOUND, TOO_MANY_STREAMS),
            tag=tags.JOBS,
            time_limit=math.inf,
            request_headers={"Last-Event-ID": "the id of the last event that was seen"},
            also_head=False,
        ),
    )


async def _send(response: EventSourceResponse, event: str, view: JobView, held: Held) -> None:
    text = job_answer(view).model_dump_json(by_alias=True)
    # Where there is no room for it the stream ends, and the client comes again.
    held.take(len(text))
    try:
        await response.send(text, id=version(view), event=event, retry=_COME_BACK_MILLISECONDS)
    finally:
        held.give_back()
