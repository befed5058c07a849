"""Addresses in messages: the job, and the signed page on which an alert is acknowledged."""

import hashlib
import hmac
import time
from uuid import UUID

_DAY_SECONDS = 24 * 3600
_GOOD_FOR_DAYS = 14
_LONGEST_MOMENT = 11
_PURPOSE = b"acknowledge an alert"


class AlertLinks:
    """Makes links under `public_url` and checks what comes back with them.

    A token names its alert and its end, and is good for nothing but acknowledging that alert.
    """

    def __init__(self, public_url: str, key: bytes) -> None:
        self._public_url = public_url.rstrip("/")
        self._key = hmac.new(key, _PURPOSE, hashlib.sha256).digest()

    def job(self, job_id: UUID | str) -> str:
        """Where the job can be looked at."""
        return f"{self._public_url}/api/jobs/{job_id}"

    def acknowledge(self, alert_id: UUID) -> str:
        """The page with the button."""
        # Whole days: a message that is sent again says the same.
        until = (int(time.time()) // _DAY_SECONDS + 1 + _GOOD_FOR_DAYS) * _DAY_SECONDS
        return (
            f"{self._public_url}/alerts/{alert_id}/acknowledge"
            f"?token={until}.{self._signature(alert_id, until)}"
        )

    def may_acknowledge(self, alert_id: UUID, token: str) -> bool:
        """Whether this token is ours, for this alert, and not too old."""
        until, _, signature = token.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) <= _LONGEST_MOMENT):
            return False
        right = self._signature(alert_id, int(until))
        return hmac.compare_digest(right.encode(), signature.encode()) and int(until) > time.time()

    def _signature(self, alert_id: UUID, until: int) -> str:
        text = f"{alert_id}:{until}".encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:43]
