"""The types of settings: how a value is read, and what is refused.

No message repeats a value that may be secret.
"""

import ipaddress
import re
import zoneinfo
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from wastewise_jobs.alert_names import EMAIL, PAGERDUTY, SLACK, AlertType
from wastewise_jobs.dsn import read_dsn

LEAST_SECRET_BYTES = 32
_QUOTES = frozenset("\"'`")
ALERT_TYPES = tuple(one.value for one in AlertType)
CHANNEL_VARIABLES = {
    EMAIL: "RESEND_API_KEY",
    SLACK: "SLACK_WEBHOOK_URL",
    PAGERDUTY: "PAGERDUTY_KEY",
}
_MAIL_ADDRESS = re.compile(r"[^@\s<>,]+@[^@\s<>,]+|[^<>,\r\n]*<[^@\s<>,]+@[^@\s<>,]+>")


def http_url(value: str) -> str:
    """An address of the web, without the slash at its end."""
    try:
        parts = urlsplit(value)
        # Reading the port raises ValueError when it is not one, as encoding does of the name.
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be an http:// or https:// address")
    return value.rstrip("/")


def service_url(value: str) -> str:
    """An http(s) address that paths can be put behind, without a login."""
    parts = urlsplit(http_url(value))
    if "@" in parts.netloc:
        raise ValueError("must hold no user and no password")
    if parts.query or parts.fragment:
        raise ValueError("must end before ? and #")
    return value.rstrip("/")


def is_loopback(host: str | None) -> bool:
    """Whether the host of an address is this machine."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def https_or_loopback(value: str) -> str:
    """An address that secrets may be sent to."""
    parts = urlsplit(http_url(value))
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        raise ValueError("must be an https:// address")
    return value


def no_quotes(value: object) -> object:
    """A text without blanks around it; one in quotes is refused.

    A shell takes the quotes away, `docker run --env-file` and many a dashboard leave them there.
    """
    if not isinstance(value, str):
        return value
    value = value.strip()
    if value[:1] in _QUOTES and value[:1] == value[-1:]:
        raise ValueError(f"is wrapped in {value[0]} quotes: remove them")
    return value


def proxy_url(value: SecretStr) -> SecretStr:
    """A proxy, with or without a login; http:// where no scheme is written."""
    text = value.get_secret_value()
    text = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(http_url(text))
        good = parts.path in {"", "/"} and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be an http:// proxy, such as http://proxy.example.com:3128")
    return SecretStr(text)


def secret_https_url(value: SecretStr) -> SecretStr:
    """As https_or_loopback, for an address that is a secret itself."""
    https_or_loopback(value.get_secret_value())
    return value


def smtp_url(value: SecretStr) -> SecretStr:
    """A mail server, with or without a login."""
    parts = urlsplit(value.get_secret_value())
    # Reading the port raises ValueError when it is not one.
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.port == 0:
        raise ValueError("must be an smtp:// or smtps:// address")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(
            "must end behind the port; in a password @ : / ? # are %40 %3A %2F %3F %23"
        )
    return value


def routes(value: object) -> object:
    """`job_failed=email,slack; job_stuck=` as a mapping; what is not named keeps its channels."""
    if not isinstance(value, str):
        return value
    routes = {}
    for part in filter(None, (part.strip() for part in value.split(";"))):
        alert_type, sign, channels = (word.strip() for word in part.partition("="))
        named = tuple(name.strip() for name in channels.split(",") if name.strip())
        if not sign or alert_type not in ALERT_TYPES:
            raise ValueError(f"must name alert types, of {', '.join(ALERT_TYPES)}: job_stuck=email")
        if unknown := [name for name in named if name not in CHANNEL_VARIABLES]:
            raise ValueError(f"{unknown[0]!r} is no channel: {', '.join(CHANNEL_VARIABLES)}")
        routes[alert_type] = named
    return routes


def postgres_dsn(value: SecretStr) -> SecretStr:
    """The address of a database, with what would be misread refused."""
    read_dsn(value.get_secret_value())
    return value


def long_enough(value: SecretStr) -> SecretStr:
    """A secret that HS256 may be used with."""
    if len(value.get_secret_value().encode()) < LEAST_SECRET_BYTES:
        raise ValueError(f"must be at least {LEAST_SECRET_BYTES} bytes long")
    return value


def comma_separated(value: object) -> object:
    """The parts of a text, without blanks around them."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def origins(values: tuple[str, ...]) -> tuple[str, ...]:
    """Web origins, one by one."""
    for value in values:
        if value == "*":
            raise ValueError("must list origins one by one; * would open the API to every site")
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or f"{parts.scheme}://{parts.netloc}" != value:
            raise ValueError(f"{value!r} is not an origin such as https://app.example.com")
    return values


def mail_addresses(value: str) -> str:
    """E-mail addresses, separated by commas."""
    if not all(_MAIL_ADDRESS.fullmatch(part.strip()) for part in value.split(",")):
        raise ValueError("must be an e-mail address")
    return value


def time_zone(value: str) -> str:
    """A zone that this machine knows."""
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone such as Europe/Berlin") from None
    return value


def upper(value: object) -> object:
    """In upper case, where it is a text."""
    return value.upper() if isinstance(value, str) else value


def lower(value: object) -> object:
    """In lower case, where it is a text."""
    return value.lower() if isinstance(value, str) else value


def absolute(value: Path) -> Path:
    """As an absolute path, ~ replaced."""
    return value.expanduser().absolute()


ProxyUrl = Annotated[SecretStr, AfterValidator(proxy_url)]
SmtpUrl = Annotated[SecretStr, AfterValidator(smtp_url)]
Dsn = Annotated[SecretStr, AfterValidator(postgres_dsn)]
HttpUrl = Annotated[str, AfterValidator(service_url)]
MailAddress = Annotated[str, AfterValidator(mail_addresses)]
Folder = Annotated[Path, AfterValidator(absolute)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Minutes = Annotated[int, Field(ge=1, le=10_080)]
PerHour = Annotated[int, Field(ge=1, le=10_000)]
Quota = Annotated[int, Field(ge=0, le=10**15)]
# Secrets are sent there.
SecretServiceUrl = Annotated[str, AfterValidator(service_url), AfterValidator(https_or_loopback)]
