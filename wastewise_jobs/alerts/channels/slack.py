"""Slack by incoming webhook, in Block Kit.

Whatever came from a job is escaped, so that no text of a job can mention anybody, link anywhere or
leave its block; buttons have fixed labels.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from wastewise_jobs.alert_names import SLACK
from wastewise_jobs.alerts.channels import outcome_of
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import Message, NotSent, SendOutcome
from wastewise_jobs.alerts.wording import Worded, worded
from wastewise_jobs.outbound import NoReplyError, Outbound

Block = dict[str, Any]

MARKS = {"critical": "🔴", "error": "🟠", "warning": "🟡", "resolved": "🟢"}
_MOST_FIELDS = 10
_LONGEST_HEADER = 150
_LONGEST_LINE = 400
_LONGEST_SECTION = 2900
_LONGEST_FIELD = 1500
_QUOTE = "\u02bb"


class SlackChannel:
    """Posts each message to the webhook."""

    name = SLACK

    def __init__(
        self, http: Outbound, *, webhook_url: str, links: AlertLinks, per_hour: int
    ) -> None:
        self._http = http
        self._webhook_url = webhook_url
        self._links = links
        self.per_hour = per_hour

    async def send(self, message: Message) -> SendOutcome:
        body = orjson.dumps(payload(message, self._links))
        try:
            reply = await self._http.post(self._webhook_url, body)
        except NoReplyError as error:
            return NotSent(str(error))
        return outcome_of(reply)


def payload(message: Message, links: AlertLinks) -> Block:
    """What is posted: the blocks, and the line that stands in a phone's preview."""
    words = worded(message, links)
    blocks = (
        [_header(words.subject), *(_line(one) for one in words.alerts)]
        if words.is_digest
        else list(_single(words.alerts[0]))
    )
    if words.more:
        blocks.append(_context(f"and {words.more} more: `wastewise-jobs alerts list`"))
    return {
        "text": escape(words.subject),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escape(text: str) -> str:
    """Slack's three characters; what is left of a mention or a link is read as it stands."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _single(one: Worded) -> Iterator[Block]:
    yield _header(f"{MARKS[one.severity]} {one.title}")
    yield _section(f"```{_code(one.text, _LONGEST_SECTION)}```")
    facts = one.facts[:_MOST_FIELDS]
    yield {"type": "section", "fields": [_mrkdwn(_fact(*fact)) for fact in facts]}
    buttons = []
    if one.acknowledge_url:
        buttons.append(_button("Acknowledge", one.acknowledge_url, style="primary"))
    if one.job_url:
        buttons.append(_button("Look at the job", one.job_url))
    if buttons:
        yield {"type": "actions", "elements": buttons}


def _line(one: Worded) -> Block:
    text = _code(" ".join(one.text.split()), _LONGEST_LINE)
    block = _section(f"{MARKS[one.severity]} *{escape(one.title)}*\n`{text}`")
    if one.acknowledge_url:
        block["accessory"] = _button("Acknowledge", one.acknowledge_url)
    return block


def _fact(label: str, value: str) -> str:
    return f"*{escape(label)}*\n`{_code(value.replace(chr(10), ' '), _LONGEST_FIELD)}`"


def _code(text: str, longest: int) -> str:
    """What may stand between backticks: none of its own, and what it is when escaped fits."""
    # A backtick would end the block, and what follows would be formatted.
    text = text.replace("`", _QUOTE)
    while len(escaped := escape(text)) > longest:
        text = text[: len(text) - (len(escaped) - longest + 4) // 5] if text else ""
    return escaped or "-"


def _header(text: str) -> Block:
    text = text[:_LONGEST_HEADER]
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": True}}


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> Block:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _button(label: str, url: str, *, style: str | None = None) -> Block:
    button: Block = {
        "type": "button",
        "text": {"type": "plain_text", "text": label},
        "url": url,
    }
    return {**button, "style": style} if style else button
