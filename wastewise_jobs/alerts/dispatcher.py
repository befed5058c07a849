"""Delivers alerts: plans what is to be told, and sends what is planned, channel by channel.

Every process runs one. They meet in the outbox: what one has claimed no other sends, and what one
left behind when it was killed is free again a minute later.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import assert_never

from wastewise_jobs.alert_names import Severity
from wastewise_jobs.alerts.model import (
    Alert,
    AlertPolicy,
    Channel,
    Claimed,
    Message,
    NotSent,
    SendOutcome,
    Sent,
    Told,
)
from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.db.loops import Beat, Beats, Loop, jittered
from wastewise_jobs.logs import get_logger, redact

log = get_logger(__name__)

# Longer than any channel takes: what is claimed for longer was left by somebody who died.
LEASE = timedelta(seconds=60)
_PAUSE_SECONDS = 15.0
_LAST_SECONDS = 1.0
_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Dispatcher:
    """Owns a loop that plans and one for each channel, so that a slow one holds up no other."""

    def __init__(
        self,
        *,
        store: AlertStore,
        channels: Sequence[Channel],
        policy: AlertPolicy,
        interval: timedelta = timedelta(seconds=5),
    ) -> None:
        self._store = store
        self._channels = channels
        names = {channel.name for channel in channels}
        # A channel that is not configured is skipped. Without any, nothing is planned here, and
        # what is to be told waits for a process that has some.
        self._routes = {
            kind: [name for name in routed if name in names]
            for kind, routed in policy.routes.items()
        }
        self._policy = policy
        seconds = interval.total_seconds()
        self._planning = Loop("alerts", partial(jittered, seconds), beat=Beat(seconds))
        # Planning gives the hint; what another process planned, or a retry, can wait longer.
        self._sending = {
            name: Loop(
                f"alerts to {name}",
                partial(jittered, 3 * seconds),
                beat=Beat(LEASE.total_seconds()),
            )
            for name in names
        }
        loops = [self._planning, *self._sending.values()] if channels else []
        self.beats: Beats = {loop.name: loop.beat for loop in loops}

    def stop(self) -> None:
        """End after what is being sent just now."""
        for loop in (self._planning, *self._sending.values()):
            loop.stop()

    async def run(self) -> None:
        """Deliver until stopped or cancelled.

        Cancelled, it gives what is being sent a second to be recorded: nobody could tell later
        whether it had arrived.
        """
        loops = asyncio.create_task(self._loops(), name="alert loops")
        try:
            await asyncio.shield(loops)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait([loops], timeout=_LAST_SECONDS)
            raise
        finally:
            loops.cancel()
            await asyncio.wait([loops])

    async def _loops(self) -> None:
        async with asyncio.TaskGroup() as loops:
            if self._channels:
                loops.create_task(self._planning.run(self._plan), name="alerts")
            for channel in self._channels:
                loops.create_task(self._send_for(channel), name=f"alerts to {channel.name}")

    async def _send_for(self, channel: Channel) -> None:
        loop = self._sending[channel.name]

        async def send_all() -> None:
            while not loop.stopping and await self.send_next(channel):
                loop.beat.stamp()

        await loop.run(send_all)

    async def _plan(self) -> None:
        if planned := await self._store.plan(self._routes, self._policy.repeat_after):
            log.info("alerts_planned", count=planned)
            for loop in self._sending.values():
                loop.wake.hint()

    async def send_next(self, channel: Channel) -> bool:
        """Send one message if there is one to send; whether there was."""
        claimed = await self._store.claim(
            channel.name,
            per_hour=channel.per_hour,
            digest_gap=self._policy.digest_gap,
            lease=LEASE,
        )
        if not claimed:
            return False
        alerts = await self._store.by_id([one.alert_id for one in claimed])
        outcome = await send(channel, lambda: _message(channel.name, claimed, alerts))
        _log(channel, claimed, outcome)
        lost = await self._store.record(
            channel.name, claimed, outcome, pause_seconds=_pause(outcome)
        )
        if lost:
            ids = [str(alert_id) for alert_id in lost]
            log.error("alert_undelivered", channel=channel.name, alert_ids=ids)
        return True


async def send(channel: Channel, message: Callable[[], Message]) -> SendOutcome:
    """Send what `message` makes, if it tells anything; what the channel raises is its outcome."""
    try:
        made = message()
        # Pruned or dismissed since, and its deliveries with it.
        return await channel.send(made) if made.told else Sent()
    # A loop's tick: unrecorded, it would be sent again and again, however often it arrives.
    except Exception as error:  # noqa: BLE001
        return NotSent(f"{type(error).__name__}: {error}")


def _message(channel: str, claimed: Sequence[Claimed], alerts: Sequence[Alert]) -> Message:
    known = {alert.id: alert for alert in alerts}
    told = [Told(known[one.alert_id], one.notice) for one in claimed if one.alert_id in known]
    worst_first = sorted(told, key=lambda one: _RANK[Severity(one.alert.severity)], reverse=True)
    return Message(worst_first, _key(channel, claimed))


def _key(channel: str, claimed: Sequence[Claimed]) -> str:
    """The same for the same notices, whenever and by whomever they are sent."""
    notices = sorted(f"{one.alert_id}.{one.round}" for one in claimed)
    if len(notices) == 1:
        return f"{channel}.{notices[0]}"
    return f"{channel}.digest.{hashlib.sha256(','.join(notices).encode()).hexdigest()[:32]}"


def _pause(outcome: SendOutcome) -> float:
    match outcome:
        case Sent() | NotSent(final=True):
            return 0.0
        case NotSent(retry_after_seconds=asked):
            return _PAUSE_SECONDS if asked is None else asked
        case _:
            assert_never(outcome)


def _log(channel: Channel, claimed: Sequence[Claimed], outcome: SendOutcome) -> None:
    match outcome:
        case Sent(""):
            log.info("alert_delivered", channel=channel.name, alerts=len(claimed))
        case Sent(refused):
            log.warning("alert_delivered_in_part", **_facts(channel, claimed, refused))
        case NotSent(reason):
            log.warning("alert_not_delivered", **_facts(channel, claimed, reason))
        case _:
            assert_never(outcome)


def _facts(channel: Channel, claimed: Sequence[Claimed], reason: str) -> dict[str, object]:
    ids = [str(one.alert_id) for one in claimed[:10]]
    return {"channel": channel.name, "alert_ids": ids, "error": redact(reason)}
