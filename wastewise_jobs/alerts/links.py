"""Addresses in messages: signed pages to acknowledge an alert, and to look at its job."""

import hashlib
import hmac
import time
from uuid import UUID

_DAY_SECONDS = 24 * 3600
_GOOD_FOR_DAYS = 14
_LONGEST_MOMENT = 11
_ACKNOWLEDGE = b"acknowledge an alert"
_LOOK = b"look at a job of an alert"


class AlertLinks:
    """Makes links under `public_url` and checks what comes back with them.

    A token names what it is for and its end: one alert to acknowledge, or one job of one alert to
    look at. It is good for nothing else.
    """

    def __init__(self, public_url: str, key: bytes) -> None:
        self._public_url = public_url.rstrip("/")
        self._acknowledge_key = hmac.new(key, _ACKNOWLEDGE, hashlib.sha256).digest()
        self._look_key = hmac.new(key, _LOOK, hashlib.sha256).digest()

    def job(self, alert_id: UUID, job_id: UUID) -> str:
        """The page that shows the job."""
        token = _token(self._look_key, f"{alert_id}:{job_id}")
        return f"{self._public_url}/alerts/{alert_id}/jobs/{job_id}?token={token}"

    def acknowledge(self, alert_id: UUID) -> str:
        """The page with the button."""
        token = _token(self._acknowledge_key, str(alert_id))
        return f"{self._public_url}/alerts/{alert_id}/acknowledge?token={token}"

    def may_look(self, alert_id: UUID, job_id: UUID, token: str) -> bool:
        """Whether this token is ours, for this job of this alert, and not too old."""
        return _is_good(self._look_key, f"{alert_id}:{job_id}", token)

    def may_acknowledge(self, alert_id: UUID, token: str) -> bool:
        """Whether this token is ours, for this alert, and not too old."""
        return _is_good(self._acknowledge_key, str(alert_id), token)


def _token(key: bytes, subject: str) -> str:
    # Whole days: a message that is sent again says the same.
    until = (int(time.time()) // _DAY_SECONDS + 1 + _GOOD_FOR_DAYS) * _DAY_SECONDS
    return f"{until}.{_signature(key, subject, until)}"


def _is_good(key: bytes, subject: str, token: str) -> bool:
    until, _, signature = token.partition(".")
    if not (until.isascii() and until.isdigit() and len(until) <= _LONGEST_MOMENT):
        return False
    right = _signature(key, subject, int(until))
    return hmac.compare_digest(right.encode(), signature.encode()) and int(until) > time.time()


def _signature(key: bytes, subject: str, until: int) -> str:
    return hmac.new(key, f"{subject}:{until}".encode(), hashlib.sha256).hexdigest()[:43]
