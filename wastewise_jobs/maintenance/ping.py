"""The dead-man ping: a service elsewhere expects it, and speaks up when it stays away."""

from wastewise_jobs.logs import get_logger
from wastewise_jobs.outbound import NO_PROXIES, NoReplyError, Outbound, Proxies

log = get_logger(__name__)

_LIMIT_SECONDS = 10.0
_FIRST_REFUSAL = 300


class Ping:
    """Calls one address; whatever goes wrong is logged, and the next round pings again.

    The address is a secret: whoever knows it can keep the alarm quiet.
    """

    def __init__(self, url: str, *, proxies: Proxies = NO_PROXIES) -> None:
        self._url = url
        self._proxies = proxies

    async def send(self) -> None:
        """GET it; no redirect is followed."""
        try:
            async with Outbound(timeout_seconds=_LIMIT_SECONDS, proxies=self._proxies) as http:
                reply = await http.get(self._url)
        except NoReplyError as error:
            log.warning("ping_failed", error=str(error))
            return
        if reply.status >= _FIRST_REFUSAL:
            log.warning("ping_refused", status=reply.status)
