"""Alerts over HTTP: for admins, and the signed page that a message leads to."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import Field, WithJsonSchema

from wastewise_jobs.alert_names import AlertStatus, AlertType, Severity
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import Alert, AlertFilter, HistoryEntry
from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.logs import get_logger, redact
from wastewise_jobs.web.api import tags
from wastewise_jobs.web.api.writes import Writes
from wastewise_jobs.web.dashboard.alert_pages import acknowledge_page, job_page, page_policy
from wastewise_jobs.web.http.caller import ADMIN
from wastewise_jobs.web.http.cursor import moment_cursor, read_moment_cursor
from wastewise_jobs.web.http.parameters import IdInPath, Page
from wastewise_jobs.web.http.problems import (
    ALERT_NOT_FOUND,
    ALERT_RESOLVED,
    INVALID_CURSOR,
    INVALID_VALUE,
    JOB_NOT_FOUND,
    LINK_NOT_VALID,
    ProblemError,
)
from wastewise_jobs.web.http.route import (
    PUBLIC,
    Call,
    NoBody,
    NoParameters,
    Parameters,
    Route,
    answer,
)
from wastewise_jobs.wire.alerts import (
    AcknowledgeRequest,
    AlertAnswer,
    AlertDetails,
    AlertEvent,
    AlertList,
    SnoozeRequest,
)
from wastewise_jobs.wire.types import FieldProblem, Pagination, WireUuid

log = get_logger(__name__)

_PAGE = "/alerts/{id}/acknowledge"
_JOB_PAGE = "/alerts/{id}/jobs/{job}"
_OLD_LINK = "this link is too old, or a part of it is missing"


def _one_of(names: type[StrEnum]) -> WithJsonSchema:
    # In place: a parameter of the document has no definitions of its own.
    return WithJsonSchema({"type": "string", "enum": [name.value for name in names]})


class AlertListQuery(Page):
    """Which alerts; `job` also finds those that only count the job."""

    status: list[Annotated[AlertStatus, _one_of(AlertStatus)]] = Field(
        default_factory=list, max_length=4
    )
    type: Annotated[AlertType, _one_of(AlertType)] | None = None
    severity: Annotated[Severity, _one_of(Severity)] | None = None
    job: WireUuid | None = None


class LinkQuery(Parameters):
    """What proves that the link is ours."""

    token: Annotated[str, Field(max_length=200)] = ""


class JobOfAlertInPath(IdInPath):
    """An alert and one of its jobs."""

    job: WireUuid


class AlertsResource:
    """The handlers of /api/admin/alerts and of the page."""

    def __init__(self, *, store: AlertStore, links: AlertLinks, writes: Writes) -> None:
        self._store = store
        self._writes = writes
        self._links = links

    async def list_alerts(
        self, call: Call[NoParameters, AlertListQuery, NoBody]
    ) -> web.StreamResponse:
        query = call.query
        wanted = AlertFilter(
            statuses=query.status,
            alert_type=query.type,
            severity=query.severity,
            job_id=query.job,
        )
        before = read_moment_cursor("alerts", query.cursor)
        found = await self._store.list_alerts(wanted, limit=query.limit + 1, before=before)
        page, more = found[: query.limit], len(found) > query.limit
        last = moment_cursor("alerts", page[-1].created_at, page[-1].id) if more else None
        return answer(
            AlertList(
                alerts=[_alert_answer(alert) for alert in page],
                pagination=Pagination(limit=query.limit, has_more=more, next_cursor=last),
            )
        )

    async def get(self, call: Call[IdInPath, NoParameters, NoBody]) -> web.StreamResponse:
        alert = await self._alert(call.path.id)
        return answer(_alert_details(alert, await self._store.history(alert.id)))

    async def acknowledge(
        self, call: Call[IdInPath, NoParameters, AcknowledgeRequest]
    ) -> web.StreamResponse:
        """Somebody knows: it stays quiet until it gets worse."""
        alert_id, caller = call.path.id, call.caller.user_id
        async with self._writes.transaction(call.caller) as connection:
            done = await AlertStore(connection).acknowledge(
                alert_id, by=caller, actor=f"user {caller}", note=call.body.note
            )
        return await self._done(alert_id, done, AlertStatus.ACKNOWLEDGED)

    async def snooze(self, call: Call[IdInPath, NoParameters, SnoozeRequest]) -> web.StreamResponse:
        """Quiet until then; told again if it is still open."""
        if call.body.until <= datetime.now(UTC):
            problem = "is past"
            raise ProblemError(
                INVALID_VALUE,
                f"until: {problem}",
                field="until",
                errors=[FieldProblem(field="until", problem=problem)],
            )
        async with self._writes.transaction(call.caller) as connection:
            done = await AlertStore(connection).snooze(
                call.path.id,
                call.body.until,
                actor=f"user {call.caller.user_id}",
                note=call.body.note,
            )
        return await self._done(call.path.id, done, AlertStatus.SNOOZED)

    async def resolve(
        self, call: Call[IdInPath, NoParameters, AcknowledgeRequest]
    ) -> web.StreamResponse:
        """It is over, whatever it waits for."""
        async with self._writes.transaction(call.caller) as connection:
            done = await AlertStore(connection).resolve(
                call.path.id, actor=f"user {call.caller.user_id}", note=call.body.note
            )
        return await self._done(call.path.id, done, AlertStatus.RESOLVED)

    async def page(self, call: Call[IdInPath, LinkQuery, NoBody]) -> web.StreamResponse:
        """A button. Mail scanners follow links: looking changes nothing."""
        self._check(call.path.id, call.query.token)
        return _page(acknowledge_page(await self._alert(call.path.id)))

    async def press(self, call: Call[IdInPath, LinkQuery, NoBody]) -> web.StreamResponse:
        self._check(call.path.id, call.query.token)
        alert = await self._alert(call.path.id)
        if alert.acknowledged_at is None and alert.resolved_at is None:
            async with self._writes.transaction(call.caller) as connection:
                await AlertStore(connection).acknowledge(alert.id, by=None, actor="link")
            log.info("alert_answered", alert_id=str(alert.id), answer="acknowledged")
            alert = await self._alert(alert.id)
        return _page(acknowledge_page(alert))

    async def job(self, call: Call[JobOfAlertInPath, LinkQuery, NoBody]) -> web.StreamResponse:
        """The job that the message is about, for whoever has the message."""
        if not self._links.may_look(call.path.id, call.path.job, call.query.token):
            raise ProblemError(LINK_NOT_VALID, f"{_OLD_LINK}; `wastewise-jobs jobs show` shows it")
        job = await self._store.job(call.path.id, call.path.job)
        if job is None:
            raise ProblemError(JOB_NOT_FOUND, "the job is gone, or was never this alert's")
        return _page(job_page(job))

    def _check(self, alert_id: UUID, token: str) -> None:
        if not self._links.may_acknowledge(alert_id, token):
            raise ProblemError(
                LINK_NOT_VALID, f"{_OLD_LINK}; `wastewise-jobs alerts ack` acknowledges too"
            )

    async def _done(
        self, alert_id: UUID, done: AlertStatus | None, wanted: AlertStatus
    ) -> web.StreamResponse:
        if done is None:
            raise _no_such_alert()
        if done is not wanted:
            raise ProblemError(ALERT_RESOLVED, "the alert is resolved already")
        log.info("alert_answered", alert_id=str(alert_id), answer=wanted.value)
        return answer(_alert_answer(await self._alert(alert_id)))

    async def _alert(self, alert_id: UUID) -> Alert:
        alert = await self._store.get(alert_id)
        if alert is None:
            raise _no_such_alert()
        return alert


def routes(alerts: AlertsResource) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            "/api/admin/alerts",
            alerts.list_alerts,
            ADMIN,
            "List alerts, newest first",
            answers={200: AlertList},
            refusals=(INVALID_CURSOR,),
            tag=tags.ALERTS,
        ),
        Route(
            "GET",
            "/api/admin/alerts/{id}",
            alerts.get,
            ADMIN,
            "Look at an alert and its history",
            answers={200: AlertDetails},
            refusals=(ALERT_NOT_FOUND,),
            tag=tags.ALERTS,
        ),
        Route(
            "POST",
            "/api/admin/alerts/{id}/acknowledge",
            alerts.acknowledge,
            ADMIN,
            "Acknowledge an alert: it stays quiet until it gets worse",
            answers={200: AlertAnswer},
            refusals=(ALERT_NOT_FOUND, ALERT_RESOLVED),
            tag=tags.ALERTS,
        ),
        Route(
            "POST",
            "/api/admin/alerts/{id}/snooze",
            alerts.snooze,
            ADMIN,
            "Keep an alert quiet until a time; if it is still open, it is told again",
            answers={200: AlertAnswer},
            refusals=(ALERT_NOT_FOUND, ALERT_RESOLVED),
            tag=tags.ALERTS,
        ),
        Route(
            "POST",
            "/api/admin/alerts/{id}/resolve",
            alerts.resolve,
            ADMIN,
            "Resolve an alert; the channels that were told of it are told",
            answers={200: AlertAnswer},
            refusals=(ALERT_NOT_FOUND,),
            tag=tags.ALERTS,
        ),
        Route(
            "GET",
            _PAGE,
            alerts.page,
            PUBLIC,
            "The page that a message leads to; its link is signed",
            answers={200: "text/html"},
            refusals=(LINK_NOT_VALID, ALERT_NOT_FOUND),
            tag=tags.ALERTS,
        ),
        Route(
            "GET",
            _JOB_PAGE,
            alerts.job,
            PUBLIC,
            "The job that a message is about; its link is signed",
            answers={200: "text/html"},
            refusals=(LINK_NOT_VALID, JOB_NOT_FOUND),
            tag=tags.ALERTS,
        ),
        Route(
            "POST",
            _PAGE,
            alerts.press,
            PUBLIC,
            "The button of that page: acknowledge the alert",
            answers={200: "text/html"},
            refusals=(LINK_NOT_VALID, ALERT_NOT_FOUND),
            tag=tags.ALERTS,
        ),
    )


def _no_such_alert() -> ProblemError:
    return ProblemError(ALERT_NOT_FOUND, "there is no such alert")


def _page(text: str) -> web.Response:
    return web.Response(
        text=text,
        content_type="text/html",
        charset="utf-8",
        headers={"Content-Security-Policy": page_policy(), "Cache-Control": "no-store"},
    )


def _alert_answer(alert: Alert) -> AlertAnswer:
    return AlertAnswer.model_validate(_values(alert))


def _alert_details(alert: Alert, history: Sequence[HistoryEntry]) -> AlertDetails:
    events = [AlertEvent.model_validate(entry, from_attributes=True) for entry in history]
    return AlertDetails.model_validate({**_values(alert), "history": events})


def _values(alert: Alert) -> dict[str, Any]:
    values = {name: getattr(alert, name) for name in Alert.__slots__}
    return {**values, "message": redact(alert.message), "details": redact(dict(alert.details))}
