"""The channels, each with its real wire format, and what they share."""

from wastewise_jobs.alerts.model import NotSent, SendOutcome, Sent
from wastewise_jobs.logs import redact
from wastewise_jobs.outbound import Reply

_PASSING = frozenset({408, 409, 425, 429})
_FIRST_SERVER_ERROR, _FIRST_REDIRECT = 500, 300


def outcome_of(reply: Reply) -> SendOutcome:
    """What an answer means: any 2xx took it; what asks for patience may be tried again."""
    if reply.status < _FIRST_REDIRECT:
        return Sent()
    final = reply.status < _FIRST_SERVER_ERROR and reply.status not in _PASSING
    said = " ".join(redact(reply.body[:300]).split())
    reason = f"HTTP {reply.status}: {said}".removesuffix(": ")
    return NotSent(reason, final=final, retry_after_seconds=reply.retry_after_seconds)
