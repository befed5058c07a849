"""The dead-man ping: a service elsewhere expects it, and speaks up when it stays away."""

import aiohttp

from wastewise_jobs.logs import get_logger

log = get_logger(__name__)

_LIMIT = aiohttp.ClientTimeout(total=10)
_FIRST_REFUSAL = 300


class Ping:
    """Calls one address; whatever goes wrong is logged, and the next round pings again.

    The address is a secret: whoever knows it can keep the alarm quiet.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def send(self) -> None:
        """GET it; the answer is not read and no redirect is followed."""
        try:
            async with (
                aiohttp.ClientSession(timeout=_LIMIT) as session,
                session.get(self._url, allow_redirects=False) as answer,
            ):
                if answer.status >= _FIRST_REFUSAL:
                    log.warning("ping_refused", status=answer.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("ping_failed", error=type(error).__name__)
