"""Every environment variable, typed, with units in the name. `.env.template` explains each.

Only the composition root and the command line read this; components take plain values. A value
that is wrong or half-set stops the start with one line that names the variable, and no message
ever repeats the value of a secret. `.env` in the current folder is read where it exists; the
environment wins over it, and an empty value counts as not set.
"""

import contextlib
import ipaddress
import os
import pwd
import re
import secrets
import tempfile
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wastewise_jobs.errors import ConfigurationError, problem_of

LEAST_SECRET_BYTES = 32
_LAST_PORT = 65_535
SECRET_FILE = "jwt-secret"  # noqa: S105 - a file name
ALERT_TYPES = ("job_failed", "job_stuck", "high_error_rate", "worker_down")
CHANNEL_VARIABLES = {
    "email": "RESEND_API_KEY",
    "slack": "SLACK_WEBHOOK_URL",
    "pagerduty": "PAGERDUTY_KEY",
}
_MAIL_ADDRESS = re.compile(r"[^@\s<>,]+@[^@\s<>,]+|[^<>,\r\n]*<[^@\s<>,]+@[^@\s<>,]+>")


def default_home() -> Path:
    """Where the embedded server and generated keys live when WASTEWISE_HOME is not set.

    Not below root's own home: PostgreSQL refuses to run as root, and the user it runs as
    instead cannot look into a 0700 folder.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/wastewise-jobs")
    data = os.environ.get("XDG_DATA_HOME", "")
    if data.startswith("/"):
        return Path(data, "wastewise-jobs")
    return _user_home() / ".local/share/wastewise-jobs"


def _user_home() -> Path:
    if home := os.environ.get("HOME"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        raise ConfigurationError(
            "WASTEWISE_HOME", "is not set, and this user has no home folder"
        ) from None


def _http_url(value: str) -> str:
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


def _service_url(value: str) -> str:
    parts = urlsplit(_http_url(value))
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


def _https_or_loopback(value: str) -> str:
    parts = urlsplit(_http_url(value))
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        raise ValueError("must be an https:// address")
    return value


def _secret_https_url(value: SecretStr) -> SecretStr:
    _https_or_loopback(value.get_secret_value())
    return value


def _smtp_url(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    # Reading the port raises ValueError when it is not one.
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.port == 0:
        raise ValueError("must be an smtp:// or smtps:// address")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(
            "must end behind the port; in a password @ : / ? # are %40 %3A %2F %3F %23"
        )
    return value


def _routes(value: object) -> object:
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


def _postgres_dsn(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    parts = urlsplit(text)
    login, _, hosts = parts.netloc.rpartition("@")
    misread = parts.fragment or "@" in login + parts.path
    if misread or not all("=" in word for word in filter(None, parts.query.split("&"))):
        # Without the text: parts of the password would be taken for a host or a port.
        raise ValueError("is no address; in a password @ : / ? # are %40 %3A %2F %3F %23")
    for host in hosts.split(","):
        _, colon, port = host.rpartition("]")[2].partition(":")
        if colon and not (port.isascii() and port.isdigit() and 0 < int(port) <= _LAST_PORT):
            raise ValueError("names a port that is none")
    return value


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode()) < LEAST_SECRET_BYTES:
        raise ValueError(f"must be at least {LEAST_SECRET_BYTES} bytes long")
    return value


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value == "*":
            raise ValueError("must list origins one by one; * would open the API to every site")
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or f"{parts.scheme}://{parts.netloc}" != value:
            raise ValueError(f"{value!r} is not an origin such as https://app.example.com")
    return values


def _mail_addresses(value: str) -> str:
    if not all(_MAIL_ADDRESS.fullmatch(part.strip()) for part in value.split(",")):
        raise ValueError("must be an e-mail address")
    return value


def _time_zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone such as Europe/Berlin") from None
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _absolute(value: Path) -> Path:
    return value.expanduser().absolute()


Dsn = Annotated[SecretStr, AfterValidator(_postgres_dsn)]
HttpUrl = Annotated[str, AfterValidator(_service_url)]
MailAddress = Annotated[str, AfterValidator(_mail_addresses)]
Folder = Annotated[Path, AfterValidator(_absolute)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Minutes = Annotated[int, Field(ge=1, le=10_080)]
PerHour = Annotated[int, Field(ge=1, le=10_000)]
# Secrets are sent there.
SecretServiceUrl = Annotated[str, AfterValidator(_service_url), AfterValidator(_https_or_loopback)]


class Settings(BaseSettings):
    """What the environment says. The attribute is the variable's name in lower case."""

    model_config = SettingsConfigDict(
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        validate_default=False,
    )

    database_url: Dsn | None = None
    database_direct_url: Dsn | None = None
    database_pool_size: Annotated[int, Field(ge=2, le=1000)] = 10
    database_timeout_seconds: Seconds = 30.0
    notify_enabled: bool = True
    wastewise_home: Folder = Field(default_factory=default_home)
    wastewise_pg_bin: Folder | None = None

    # Empty would be every address of the machine.
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    public_url: HttpUrl | None = None
    cors_allowed_origins: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_comma_separated), AfterValidator(_origins)
    ] = ()
    job_rate_limit_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    user_priority_floor: Annotated[int, Field(ge=1, le=10)] = 1

    jwt_secret: Annotated[SecretStr, AfterValidator(_long_enough)] | None = None
    jwt_jwks_url: Annotated[str, AfterValidator(_https_or_loopback)] | None = None
    jwt_audience: str = "authenticated"
    jwt_issuer: str | None = None

    max_job_retries: Annotated[int, Field(ge=0, le=100)] = 3
    default_job_timeout_seconds: Annotated[float, Field(gt=0, le=604_800, allow_inf_nan=False)] = (
        600.0
    )
    job_stuck_threshold_minutes: Minutes = 30
    error_rate_threshold: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.10
    error_rate_minimum_jobs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    worker_heartbeat_threshold_minutes: Minutes = 5
    check_interval_seconds: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = 60.0
    check_jitter_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 5.0
    heartbeat_ping_url: Annotated[SecretStr, AfterValidator(_secret_https_url)] | None = None
    job_retention_days: Annotated[int, Field(ge=1, le=3650)] = 30
    timezone: Annotated[str, AfterValidator(_time_zone)] = "UTC"

    worker_name: str | None = None
    worker_concurrency: Annotated[int, Field(ge=1, le=10_000)] = 100
    worker_threads: Annotated[int, Field(ge=1, le=1000)] | None = None
    worker_processes: Annotated[int, Field(ge=1, le=1000)] | None = None
    lease_seconds: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = 30.0
    heartbeat_seconds: Seconds = 10.0
    poll_interval_seconds: Seconds = 5.0
    shutdown_grace_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 30.0
    wastewise_loop: Annotated[Literal["uvloop", "asyncio"], BeforeValidator(_lower)] = "uvloop"

    resend_api_key: SecretStr | None = None
    resend_api_url: SecretServiceUrl = "https://api.resend.com"
    smtp_url: Annotated[SecretStr, AfterValidator(_smtp_url)] | None = None
    email_from: MailAddress | None = None
    admin_email: MailAddress | None = None
    slack_webhook_url: Annotated[SecretStr, AfterValidator(_secret_https_url)] | None = None
    pagerduty_key: SecretStr | None = None
    pagerduty_events_url: SecretServiceUrl = "https://events.pagerduty.com"
    alert_routes: Annotated[dict[str, tuple[str, ...]], NoDecode, BeforeValidator(_routes)] = Field(
        default_factory=dict
    )
    alert_repeat_minutes: Annotated[int, Field(ge=0, le=10_080)] = 240
    email_max_per_hour: PerHour = 30
    slack_max_per_hour: PerHour = 60
    pagerduty_max_per_hour: PerHour = 30

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
    ] = "INFO"
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(_lower)] = "auto"

    wastewise_url: HttpUrl | None = None
    wastewise_token: SecretStr | None = None

    @property
    def embedded(self) -> bool:
        """Whether we run a PostgreSQL of our own."""
        return self.database_url is None

    @property
    def auth_configured(self) -> bool:
        """Whether tokens can be verified."""
        return self.jwt_secret is not None or self.jwt_jwks_url is not None

    @model_validator(mode="after")
    def _whole_combinations(self) -> Self:
        if self.database_direct_url and not self.database_url:
            raise ConfigurationError("DATABASE_URL", "is needed when DATABASE_DIRECT_URL is set")
        if self.heartbeat_seconds * 3 > self.lease_seconds:
            raise ConfigurationError(
                "HEARTBEAT_SECONDS",
                f"must be at most a third of LEASE_SECONDS ({self.lease_seconds:g}), "
                f"not {self.heartbeat_seconds:g}",
            )
        if self.jwt_secret and self.jwt_jwks_url:
            raise ConfigurationError("JWT_JWKS_URL", "cannot be set together with JWT_SECRET")
        self._email_is_whole()
        self._routes_lead_somewhere()
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the alert channels that are configured."""
        configured = {
            "email": self.admin_email,
            "slack": self.slack_webhook_url,
            "pagerduty": self.pagerduty_key,
        }
        return tuple(name for name, value in configured.items() if value is not None)

    def _routes_lead_somewhere(self) -> None:
        for alert_type, named in self.alert_routes.items():
            for name in named:
                if name not in self.channels:
                    raise ConfigurationError(
                        CHANNEL_VARIABLES[name], f"is needed: ALERT_ROUTES sends {alert_type} there"
                    )

    def _email_is_whole(self) -> None:
        if self.resend_api_key and self.smtp_url:
            raise ConfigurationError("SMTP_URL", "cannot be set together with RESEND_API_KEY")
        carrier = "SMTP_URL" if self.smtp_url else "RESEND_API_KEY"
        parts = {
            carrier: self.smtp_url or self.resend_api_key,
            "EMAIL_FROM": self.email_from,
            "ADMIN_EMAIL": self.admin_email,
        }
        given = [name for name, value in parts.items() if value is not None]
        missing = [name for name, value in parts.items() if value is None]
        if given and missing:
            raise ConfigurationError(missing[0], f"is needed when {given[0]} is set")


def load_settings(*, env_file: Path | None = Path(".env"), **overrides: Any) -> Settings:  # noqa: ANN401 - any field's value
    """The settings of this process; `overrides` are flags of the command line and win.

    Raises ConfigurationError for the first wrong or half-set variable.
    """
    try:
        _check_lines(env_file)
        return Settings(_env_file=env_file, **overrides)
    except ValidationError as error:
        raise _first_problem(error) from None
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigurationError(str(env_file), f"cannot be read: {said}") from None


def _check_lines(env_file: Path | None) -> None:
    """Refuse what pydantic-settings would pass over in silence."""
    if env_file is None:
        return
    if env_file.is_dir():
        raise ConfigurationError(str(env_file), "is a folder, not a file")
    # Over a file that is to be hidden, people mount /dev/null.
    if not env_file.is_file():
        return
    with env_file.open(encoding="utf-8") as lines:
        for line in parse_stream(lines):
            if line.error or (line.key is not None and line.value is None):
                # Without the line itself, which may hold a secret.
                problem = f"line {line.original.line} is not of the form NAME=value"
                raise ConfigurationError(str(env_file), problem)


def _first_problem(error: ValidationError) -> ConfigurationError:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    problem = problem_of(first)
    given = first["input"]
    if isinstance(given, str | int | float) and given != "" and not _is_secret(name):
        shown = repr(given)[:100]
        problem = problem if shown in problem else f"{problem}, not {shown}"
    return ConfigurationError(name.upper(), problem)


def _is_secret(name: str) -> bool:
    return name in Settings.model_fields and "SecretStr" in repr(
        Settings.model_fields[name].annotation
    )


def generated_secret(home: Path) -> SecretStr:
    """The token secret kept in `home`, made at the first call.

    Several processes may call this at once and all get the same one: the file appears whole or
    not at all, and the first to link it there wins. Only its owner may read it.
    """
    path = home / SECRET_FILE
    try:
        if not path.exists():
            _link_new_secret(path)
        secret = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigurationError("WASTEWISE_HOME", f"{path} cannot be used: {said}") from None
    if len(secret) < LEAST_SECRET_BYTES:
        raise ConfigurationError("WASTEWISE_HOME", f"{path} holds no usable secret; delete it")
    return SecretStr(secret)


def _link_new_secret(path: Path) -> None:
    # The embedded server's user must be able to pass through the folder, not to list it.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".jwt-secret-")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
