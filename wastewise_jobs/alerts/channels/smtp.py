"""E-mail by plain SMTP, for those without Resend.

smtps:// is TLS from the first byte, smtp:// turns to TLS where the server offers it, and gives
the password to nobody in the clear but to this machine itself. The standard library's client
blocks, so it runs in a thread.
"""

import asyncio
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from urllib.parse import unquote, urlsplit

from wastewise_jobs.alert_names import EMAIL
from wastewise_jobs.alerts.channels.mail import compose
from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import Message, NotSent, SendOutcome, Sent
from wastewise_jobs.logs import redact

_STEP_SECONDS = 10.0
_WHOLE_SECONDS = 45.0
_FIRST_FINAL_REPLY = 500

# Whom the server refused, and with what.
Refused = Mapping[str, tuple[int, bytes]]


class SmtpChannel:
    """Sends each message as one e-mail to all receivers."""

    name = EMAIL

    def __init__(
        self,
        url: str,
        *,
        sender: str,
        receivers: Sequence[str],
        links: AlertLinks,
        per_hour: int,
        local: bool = False,
    ) -> None:
        self._url = urlsplit(url)
        self._sender = sender
        self._receivers = list(receivers)
        self._links = links
        self._local = local
        self.per_hour = per_hour

    async def send(self, message: Message) -> SendOutcome:
        """Send it; a repeat has the same Message-ID, by which mail servers drop doubles."""
        mail = self._mail(message)
        try:
            async with asyncio.timeout(_WHOLE_SECONDS):
                refused = await asyncio.to_thread(self._deliver, mail)
        except TimeoutError:
            return NotSent("the mail server did not answer in time")
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return NotSent(
                _said_of(error.recipients, len(self._receivers)),
                final=bool(codes) and min(codes) >= _FIRST_FINAL_REPLY,
            )
        except smtplib.SMTPResponseException as error:
            said = error.smtp_error
            text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            final = error.smtp_code >= _FIRST_FINAL_REPLY
            return NotSent(f"SMTP {error.smtp_code}: {redact(text[:200])}", final=final)
        except (smtplib.SMTPException, OSError) as error:
            return NotSent(f"{type(error).__name__}: {redact(str(error)[:200])}")
        return Sent(_said_of(refused, len(self._receivers)) if refused else "")

    def _mail(self, message: Message) -> EmailMessage:
        composed = compose(message, self._links)
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = ", ".join(self._receivers)
        mail["Subject"] = composed.subject
        mail["Date"] = formatdate()
        domain = parseaddr(self._sender)[1].rpartition("@")[2]
        mail["Message-ID"] = f"<{message.key}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(composed.text)
        mail.add_alternative(composed.html, subtype="html")
        return mail

    def _deliver(self, mail: EmailMessage) -> Refused:
        host = self._url.hostname or ""
        context = ssl.create_default_context()
        if self._url.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, self._url.port or 465, timeout=_STEP_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(host, self._url.port or 587, timeout=_STEP_SECONDS)
        with server:
            server.ehlo()
            if self._url.scheme == "smtp" and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            elif self._url.scheme == "smtp" and self._url.password and not self._local:
                raise smtplib.SMTPException("the server offers no TLS, the password stays here")
            if self._url.username:
                server.login(unquote(self._url.username), unquote(self._url.password or ""))
            return server.send_message(mail)


def _said_of(refused: Refused, receivers: int) -> str:
    """Such as `1 of 2 receivers refused: b***@example.com (550)`, no address in full."""
    named = [f"{_masked(address)} ({code})" for address, (code, _) in list(refused.items())[:5]]
    more = len(refused) - len(named)
    others = f" and {more} more" if more > 0 else ""
    return f"{len(refused)} of {receivers} receivers refused: {', '.join(named)}{others}"


def _masked(address: str) -> str:
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}***@{domain}"
