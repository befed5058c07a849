"""E-mail by Resend's HTTP API: POST /emails with an Idempotency-Key."""

from collections.abc import Sequence

import orjson

from wastewise_jobs.alert_names import EMAIL
from wastewise_jobs.alerts.channels import outcome_of
from wastewise_jobs.alerts.channels.mail import compose
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import Message, NotSent, SendOutcome, Sent
from wastewise_jobs.outbound import NoReplyError, Outbound

_CONFLICT = 409


class ResendChannel:
    """Sends each message as one e-mail to all receivers."""

    name = EMAIL

    def __init__(
        self,
        http: Outbound,
        *,
        api_url: str,
        api_key: str,
        sender: str,
        receivers: Sequence[str],
        links: AlertLinks,
        per_hour: int,
    ) -> None:
        self._http = http
        self._url = f"{api_url}/emails"
        self._api_key = api_key
        self._sender = sender
        self._receivers = list(receivers)
        self._links = links
        self.per_hour = per_hour

    async def send(self, message: Message) -> SendOutcome:
        """Send it; Resend drops a repeat with the same key for a day."""
        mail = compose(message, self._links)
        body = {
            "from": self._sender,
            "to": self._receivers,
            "subject": mail.subject,
            "html": mail.html,
            "text": mail.text,
        }
        headers = {"Authorization": f"Bearer {self._api_key}", "Idempotency-Key": message.key}
        try:
            reply = await self._http.post(self._url, orjson.dumps(body), headers=headers)
        except NoReplyError as error:
            return NotSent(str(error))
        # The key was used for a text with an older count: that one was taken, and is on its way.
        if reply.status == _CONFLICT and "invalid_idempotent_request" in reply.body:
            return Sent()
        return outcome_of(reply)
