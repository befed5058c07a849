"""Which service the client commands talk to, and as whom."""

import re
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from wastewise_jobs.cli.arguments import read_file
from wastewise_jobs.cli.console import called_as
from wastewise_jobs.cli.start import settings_with
from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.setting_values import is_loopback
from wastewise_jobs.settings import SECRET_FILE, Settings

# Who the demo and the client commands are on a machine of one's own, when nobody said otherwise.
LOCAL_USER = UUID("00000000-0000-4000-8000-000000000001")
_LOCAL_TOKEN_SECONDS = 900
_LONGEST_TOKEN_BYTES = 16 * 1024
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Target:
    """A service and a token; `note` is what the user should know about how they were found.

    `flags` are those that lead there again, without the token itself.
    """

    url: str
    token: str | None
    note: str | None = None
    flags: tuple[str, ...] = ()

    def to_type(self, *words: str) -> str:
        """The command that asks the same service something else."""
        return " ".join((called_as(), *words, *self.flags))


def find_target(url: str | None, token: str | None, token_file: Path | None = None) -> Target:
    """Flags, then WASTEWISE_URL and WASTEWISE_TOKEN, then our own service on this machine."""
    if token is not None and token_file is not None:
        raise InvalidInputError("--token-file", "cannot be given together with --token")
    settings = settings_with(wastewise_url=url)
    address = settings.wastewise_url or _own_address(settings)
    flags = () if url is None else ("--url", shlex.quote(url))
    if token is not None:
        checked = _fit_for_a_header("--token", token)
        return Target(address, checked, flags=(*flags, "--token", "..."))
    if token_file is not None:
        checked = _fit_for_a_header("--token-file", _read(token_file))
        named = ("--token-file", shlex.quote(str(token_file)))
        return Target(address, checked, flags=(*flags, *named))
    if settings.wastewise_token:
        found = settings.wastewise_token.get_secret_value()
        return Target(address, _fit_for_a_header("WASTEWISE_TOKEN", found), flags=flags)
    secret = _local_secret(settings, address)
    if secret is None:
        return Target(address, None, flags=flags)
    local = make_token(
        secret,
        user=LOCAL_USER,
        lifetime_seconds=_LOCAL_TOKEN_SECONDS,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
    )
    note = f"no token given: acting as the local user {LOCAL_USER}"
    return Target(address, local, note, flags)


def _read(path: Path) -> str:
    return read_file(path, "--token-file", _LONGEST_TOKEN_BYTES).decode("utf-8", "replace")


def _fit_for_a_header(name: str, token: str) -> str:
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise InvalidInputError(name, "is no token: there are blanks or strange letters in it")
    return token


def _own_address(settings: Settings) -> str:
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::", ""} else settings.host  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _local_secret(settings: Settings, address: str) -> str | None:
    """The secret that the embedded service made here; it never signs for another machine."""
    if not settings.embedded or settings.auth_configured:
        return None
    if not is_loopback(urlsplit(address).hostname):
        return None
    try:
        return Path(settings.wastewise_home, SECRET_FILE).read_text("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def make_token(
    secret: str,
    *,
    user: UUID,
    lifetime_seconds: int,
    audience: str,
    issuer: str | None,
    admin: bool = False,
) -> str:
    """An HS256 bearer token in the shape of Supabase's."""
    import jwt

    now = int(time.time())
    claims: dict[str, object] = {
        "sub": str(user),
        "aud": audience,
        "iat": now,
        "exp": now + lifetime_seconds,
        "role": "authenticated",
        "app_metadata": {"role": "admin"} if admin else {},
    }
    if issuer:
        claims["iss"] = issuer
    return jwt.encode(claims, secret, algorithm="HS256")
