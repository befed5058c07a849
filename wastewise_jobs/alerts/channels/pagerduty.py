"""PagerDuty by its Events API v2: trigger, acknowledge and resolve under one dedup_key.

The key is the alert, so a repeat of a trigger adds to the incident that is there. A digest of new
alerts is one incident of its own, which a person closes; acknowledgements and resolutions always
go to their own.
"""

from collections.abc import Mapping
from typing import Any, Literal, assert_never

import orjson

from wastewise_jobs.alert_names import PAGERDUTY, Severity
from wastewise_jobs.alerts.channels import outcome_of
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import Message, Notice, NotSent, SendOutcome, Sent, Told
from wastewise_jobs.alerts.wording import worded, worst
from wastewise_jobs.outbound import NoReplyError, Outbound

Event = dict[str, Any]
Action = Literal["trigger", "acknowledge", "resolve"]

_LONGEST_SUMMARY = 1024
# Ours and PagerDuty's.
_SEVERITIES: Mapping[str, str] = {
    Severity.CRITICAL: "critical",
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
}


class PagerDutyChannel:
    """Sends one event for each alert, and one for all new alerts of a digest."""

    name = PAGERDUTY

    def __init__(
        self, http: Outbound, *, events_url: str, routing_key: str, links: AlertLinks, per_hour: int
    ) -> None:
        self._http = http
        self._url = f"{events_url}/v2/enqueue"
        self._routing_key = routing_key
        self._links = links
        self.per_hour = per_hour

    async def send(self, message: Message) -> SendOutcome:
        """Send its events; a failure half-way repeats all of them, which changes nothing."""
        outcome: SendOutcome = Sent()
        for event in self._events(message):
            try:
                reply = await self._http.post(self._url, orjson.dumps(event))
            except NoReplyError as error:
                return NotSent(str(error))
            outcome = outcome_of(reply)
            if isinstance(outcome, NotSent):
                return outcome
        return outcome

    def _events(self, message: Message) -> list[Event]:
        new = [told for told in message.told if _action(told) == "trigger"]
        events = [
            self._event(_action(told), dedup_key(told))
            for told in message.told
            if _action(told) != "trigger"
        ]
        if new:
            key = dedup_key(new[0]) if len(new) == 1 else f"wastewise-jobs:{message.key}"
            events.append(self._trigger(Message(new, message.key), key))
        return events

    def _event(self, action: Action, key: str) -> Event:
        return {"routing_key": self._routing_key, "event_action": action, "dedup_key": key}

    def _trigger(self, message: Message, key: str) -> Event:
        words = worded(message, self._links)
        alert = message.told[0].alert
        links = [
            {"href": url, "text": text}
            for one in words.alerts
            for text, url in (("Acknowledge", one.acknowledge_url), ("Job", one.job_url))
            if url
        ]
        return {
            **self._event("trigger", key),
            "payload": {
                "summary": f"WasteWise {words.subject}"[:_LONGEST_SUMMARY],
                "source": "wastewise-jobs",
                "severity": _SEVERITIES.get(worst(message), "info"),
                "timestamp": alert.last_seen_at.isoformat(),
                "class": alert.alert_type,
                "custom_details": {
                    one.title: {"text": one.text, **dict(one.facts)} for one in words.alerts
                },
            },
            "links": links,
            "client": "WasteWise jobs",
        }


def dedup_key(told: Told) -> str:
    """What PagerDuty knows the alert's incident by."""
    return f"wastewise-jobs:{told.alert.id}"


def _action(told: Told) -> Action:
    match told.notice:
        case Notice.RESOLVED:
            return "resolve"
        case Notice.ACKNOWLEDGED:
            return "acknowledge"
        case Notice.RAISED | Notice.REMINDER:
            return "trigger"
        case unreachable:
            assert_never(unreachable)
