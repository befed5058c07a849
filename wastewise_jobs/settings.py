"""Every environment variable, typed, with units in the name. `.env.template` explains each.

Only the composition root and the command line read this; components take plain values. A value
that is wrong or half-set stops the start with one line that names the variable, and no message
ever repeats the value of a secret. `.env` in the current folder is read where it exists; the
environment wins over it, and an empty value counts as not set.
"""

import contextlib
import os
import pwd
import secrets
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wastewise_jobs.errors import ConfigurationError, problem_of
from wastewise_jobs.setting_values import (
    CHANNEL_VARIABLES,
    LEAST_SECRET_BYTES,
    Dsn,
    Folder,
    HttpUrl,
    MailAddress,
    Minutes,
    PerHour,
    ProxyUrl,
    Quota,
    Seconds,
    SecretServiceUrl,
    SmtpUrl,
    comma_separated,
    https_or_loopback,
    long_enough,
    lower,
    no_quotes,
    origins,
    routes,
    secret_https_url,
    time_zone,
    upper,
)

_ADDRESSES = frozenset({"database_url", "database_direct_url"})
# Also read in lower case, which wins, as it does for curl and Python's own client.
_PROXY_VARIABLES = ("https_proxy", "http_proxy", "no_proxy")
SECRET_FILE = "jwt-secret"  # noqa: S105 - a file name


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
        tuple[str, ...], NoDecode, BeforeValidator(comma_separated), AfterValidator(origins)
    ] = ()
    job_rate_limit_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    quota_projects: Quota = 0
    quota_stored_bytes: Quota = 0
    quota_pending_jobs: Quota = 0
    user_priority_floor: Annotated[int, Field(ge=1, le=10)] = 1

    jwt_secret: Annotated[SecretStr, AfterValidator(long_enough)] | None = None
    jwt_secret_previous: Annotated[SecretStr, AfterValidator(long_enough)] | None = None
    jwt_jwks_url: Annotated[str, AfterValidator(https_or_loopback)] | None = None
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
    heartbeat_ping_url: Annotated[SecretStr, AfterValidator(secret_https_url)] | None = None
    job_retention_days: Annotated[int, Field(ge=1, le=3650)] = 30
    timezone: Annotated[str, AfterValidator(time_zone)] = "UTC"

    worker_name: str | None = None
    worker_concurrency: Annotated[int, Field(ge=1, le=10_000)] = 100
    worker_threads: Annotated[int, Field(ge=1, le=1000)] | None = None
    worker_processes: Annotated[int, Field(ge=1, le=1000)] | None = None
    compute_memory_mb: Annotated[int, Field(ge=256, le=1_048_576)] = 1024
    lease_seconds: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = 30.0
    heartbeat_seconds: Seconds = 10.0
    poll_interval_seconds: Seconds = 5.0
    shutdown_grace_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 30.0
    wastewise_loop: Annotated[Literal["uvloop", "asyncio"], BeforeValidator(lower)] = "uvloop"

    resend_api_key: SecretStr | None = None
    resend_api_url: SecretServiceUrl = "https://api.resend.com"
    smtp_url: SmtpUrl | None = None
    email_from: MailAddress | None = None
    admin_email: MailAddress | None = None
    slack_webhook_url: Annotated[SecretStr, AfterValidator(secret_https_url)] | None = None
    pagerduty_key: SecretStr | None = None
    pagerduty_events_url: SecretServiceUrl = "https://events.pagerduty.com"
    alert_routes: Annotated[dict[str, tuple[str, ...]], NoDecode, BeforeValidator(routes)] = Field(
        default_factory=dict
    )
    alert_repeat_minutes: Annotated[int, Field(ge=0, le=10_080)] = 240
    email_max_per_hour: PerHour = 30
    slack_max_per_hour: PerHour = 60
    pagerduty_max_per_hour: PerHour = 30

    https_proxy: ProxyUrl | None = None
    http_proxy: ProxyUrl | None = None
    no_proxy: Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)] = ()

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(upper)
    ] = "INFO"
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(lower)] = "auto"

    wastewise_url: HttpUrl | None = None
    wastewise_token: SecretStr | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: object, info: ValidationInfo) -> object:
        # No address of a database begins with a quote, so there they can only be a shell's.
        return value if info.field_name in _ADDRESSES else no_quotes(value)

    @property
    def embedded(self) -> bool:
        """Whether we run a PostgreSQL of our own."""
        return self.database_url is None

    @property
    def connections_beside_pool(self) -> int:
        """Of a worker: the listener, the heartbeat, and one for each process that computes."""
        return 2 + (self.worker_processes or os.cpu_count() or 1)

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
        if self.jwt_secret_previous and not self.jwt_secret:
            raise ConfigurationError("JWT_SECRET", "is needed when JWT_SECRET_PREVIOUS is set")
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
        given = {name: os.environ[name] for name in _PROXY_VARIABLES if os.environ.get(name)}
        return Settings(_env_file=env_file, **(given | overrides))
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
        if problem.startswith("must ") and shown not in problem:
            problem = f"{problem}, not {shown}"
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
