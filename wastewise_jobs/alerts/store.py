"""Alerts in PostgreSQL. Raising is the transitions' and the checks' business, by raise_alert()."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from wastewise_jobs.alert_names import AlertStatus
from wastewise_jobs.alerts import sql
from wastewise_jobs.alerts.model import (
    Alert,
    AlertFilter,
    AlertId,
    Claimed,
    HistoryEntry,
    JobOfAlert,
    Notice,
    NotSent,
    SendOutcome,
)
from wastewise_jobs.db.pool import Executor
from wastewise_jobs.jobs.storable import clean_text
from wastewise_jobs.logs import redact


class AlertStore:
    """Reads alerts, moves them through their life, and keeps the outbox."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool

    async def get(self, alert_id: UUID) -> Alert | None:
        found = await self.by_id([alert_id])
        return found[0] if found else None

    async def by_id(self, ids: Sequence[UUID]) -> list[Alert]:
        return [_alert(row) for row in await self._pool.fetch(sql.BY_ID, ids)]

    async def list_alerts(
        self,
        wanted: AlertFilter,
        *,
        limit: int,
        before: tuple[datetime, UUID] | None = None,
    ) -> list[Alert]:
        """The newest alerts first, from behind `before` on."""
        moment, alert_id = before or (None, None)
        rows = await self._pool.fetch(
            sql.LIST,
            moment,
            alert_id,
            list(wanted.statuses),
            wanted.alert_type,
            wanted.severity,
            wanted.job_id,
            limit,
        )
        return [_alert(row) for row in rows]

    async def job(self, alert_id: UUID, job_id: UUID) -> JobOfAlert | None:
        """One of the alert's jobs; None where it is gone, or not one of them."""
        row = await self._pool.fetchrow(sql.JOB, alert_id, job_id)
        return JobOfAlert(**dict(row)) if row else None

    async def history(self, alert_id: UUID) -> list[HistoryEntry]:
        """What happened to it, newest first; the last 500 events."""
        rows = await self._pool.fetch(sql.HISTORY, alert_id)
        return [HistoryEntry(**dict(row)) for row in rows]

    async def acknowledge(
        self, alert_id: UUID, *, by: UUID | None, actor: str, note: str | None = None
    ) -> AlertStatus | None:
        """Acknowledged, resolved (too late), or None when there is no such alert."""
        return _status(await self._pool.fetchval(sql.ACKNOWLEDGE, alert_id, by, actor, note))

    async def snooze(
        self, alert_id: UUID, until: datetime, *, actor: str, note: str | None = None
    ) -> AlertStatus | None:
        """Snoozed, resolved (too late), or None when there is no such alert."""
        return _status(await self._pool.fetchval(sql.SNOOZE, alert_id, until, actor, note))

    async def resolve(
        self, alert_id: UUID, *, actor: str, note: str | None = None
    ) -> AlertStatus | None:
        """Resolved, also where it was, or None when there is no such alert."""
        return _status(await self._pool.fetchval(sql.RESOLVE, alert_id, actor, note))

    async def plan(self, routes: Mapping[str, Sequence[str]], repeat_after: timedelta) -> int:
        """Put whatever is to be told into the outbox; how many alerts."""
        pairs = [(kind, channel) for kind, channels in routes.items() for channel in channels]
        return int(
            await self._pool.fetchval(
                sql.PLAN, [kind for kind, _ in pairs], [name for _, name in pairs], repeat_after
            )
        )

    async def claim(
        self, channel: str, *, per_hour: int, digest_gap: timedelta, lease: timedelta
    ) -> list[Claimed]:
        """What the channel is to send in one message now; empty when nothing."""
        rows = await self._pool.fetch(sql.CLAIM, channel, per_hour, digest_gap, lease)
        return [
            Claimed(
                row["alert_id"], row["fence"], row["round"], Notice(row["notice"]), row["digest"]
            )
            for row in rows
        ]

    async def record(
        self,
        channel: str,
        claimed: Sequence[Claimed],
        outcome: SendOutcome,
        *,
        pause_seconds: float = 0.0,
    ) -> list[AlertId]:
        """Record what became of a message; returns the alerts that it leaves undelivered."""
        failed = outcome if isinstance(outcome, NotSent) else None
        said = outcome.reason if isinstance(outcome, NotSent) else outcome.refused
        # Other people's words: no byte of them may keep what happened from being recorded.
        reason = clean_text(redact(said), 500) or None
        rows = await self._pool.fetch(
            sql.RECORD,
            channel,
            [one.alert_id for one in claimed],
            [one.fence for one in claimed],
            (reason or "no reason given") if failed else None,
            failed.final if failed else False,
            pause_seconds,
            None if failed else reason,
        )
        return [AlertId(row["alert_id"]) for row in rows if row["status"] == "undelivered"]

    async def undelivered(self) -> int:
        """How many open alerts no attempt could deliver."""
        return int(await self._pool.fetchval(sql.UNDELIVERED))

    async def link_key(self) -> bytes:
        """The key that signs links; the same for every process."""
        return bytes(await self._pool.fetchval(sql.LINK_KEY))


def _status(answer: str | None) -> AlertStatus | None:
    return None if answer is None else AlertStatus(answer)


def _alert(row: asyncpg.Record) -> Alert:
    values = dict(row)
    # A row that somebody else wrote may hold any JSON value here.
    if not isinstance(values["details"], dict):
        values["details"] = {"details": values["details"]}
    return Alert(**values)
