"""Turns the Authorization header into a caller: a JSON Web Token or an API key, nothing else.

Cookies are never read. Every failure gets the same answer, whatever the reason was.
"""

import asyncio
import contextvars
import hmac
import time
from dataclasses import dataclass

from aiohttp import web

from wastewise_jobs.logs import get_logger
from wastewise_jobs.outbound import NO_PROXIES, Proxies
from wastewise_jobs.web.access.jwks import JwksKeys
from wastewise_jobs.web.access.keys import PREFIX, KeyStore, StoredKey, secret_hash, split_key
from wastewise_jobs.web.access.tokens import (
    BothFamilies,
    InvalidTokenError,
    SharedSecret,
    TokenVerifier,
)
from wastewise_jobs.web.http.caller import Caller
from wastewise_jobs.web.http.problems import UNAUTHENTICATED, ProblemError
from wastewise_jobs.web.http.route import READ_SECONDS

# A revoked key must not work for longer than five seconds; the look itself takes time as well.
_REMEMBERED_SECONDS = 4.0
_MOST_REMEMBERED = 10_000
_TOUCH_EVERY_SECONDS = 60.0
_NO_HASH = secret_hash("")
_CHALLENGE = 'Bearer realm="wastewise-jobs"'

_log = get_logger(__name__)


def create_authenticator(
    *,
    key_store: KeyStore,
    jwt_secret: str | None = None,
    previous_secret: str | None = None,
    jwks_url: str | None = None,
    audience: str = "authenticated",
    issuer: str | None = None,
    proxies: Proxies = NO_PROXIES,
) -> "Authenticator":
    """API keys, and tokens: HS256 with a secret, ES256 and RS256 by JWKS, whichever are given."""
    secret = None if jwt_secret is None else SharedSecret(jwt_secret)
    jwks = None if jwks_url is None else JwksKeys(jwks_url, proxies=proxies)
    keys = BothFamilies(secret, jwks) if secret and jwks else secret or jwks
    previous = None
    if previous_secret is not None:
        previous = SharedSecret(previous_secret, variable="JWT_SECRET_PREVIOUS")
    tokens = None
    if keys is not None:
        tokens = TokenVerifier(keys, audience=audience, issuer=issuer, previous=previous)
    return Authenticator(tokens=tokens, keys=KeyVerifier(key_store), jwks=jwks)


class Authenticator:
    """Knows the callers. `tokens` is None where only API keys are accepted."""

    def __init__(
        self,
        *,
        tokens: TokenVerifier | None,
        keys: "KeyVerifier",
        jwks: JwksKeys | None = None,
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._jwks = jwks

    async def authenticate(self, request: web.Request) -> Caller:
        """Return the caller; raises ProblemError 401 for anything that proves nothing."""
        given = request.headers.getall("Authorization", [])
        if not given:
            raise _refused("send Authorization: Bearer with a token or an API key", "")
        scheme, _, credential = given[0].strip().partition(" ")
        if len(given) > 1 or scheme.lower() != "bearer":
            raise _refused("send one Authorization header with the scheme Bearer", "")
        credential = credential.strip()
        try:
            return await self._verify(credential)
        except InvalidTokenError as error:
            _log.info("credential_refused", reason=str(error))
            raise _refused("the credential is not valid", ', error="invalid_token"') from None

    async def close(self) -> None:
        """End what runs in the background."""
        await self._keys.close()
        if self._jwks is not None:
            await self._jwks.close()

    async def _verify(self, credential: str) -> Caller:
        if credential.startswith(PREFIX):
            return await self._keys.verify(credential)
        if self._tokens is None:
            raise InvalidTokenError("tokens are not accepted")
        return await self._tokens.verify(credential)


@dataclass(frozen=True, slots=True)
class _Remembered:
    key: StoredKey | None
    looked_at: float


class KeyVerifier:
    """Checks API keys, looking each up at most every few seconds."""

    def __init__(self, store: KeyStore, *, remembered_seconds: float = _REMEMBERED_SECONDS) -> None:
        self._store = store
        self._remembered_seconds = remembered_seconds
        self._remembered: dict[str, _Remembered] = {}
        self._touched_at: dict[str, float] = {}
        self._touching: set[asyncio.Task[None]] = set()

    async def verify(self, text: str) -> Caller:
        """Return the caller that the key is for; raises InvalidTokenError."""
        parts = split_key(text)
        if parts is None:
            raise InvalidTokenError("malformed key")
        public_id, secret = parts
        key, age = await self._look_up(public_id)
        # A key that does not exist costs the same comparison as one that does.
        same = hmac.compare_digest(secret_hash(secret), key.secret_hash if key else _NO_HASH)
        if key is None or not same:
            raise InvalidTokenError("unknown key")
        if key.seconds_left is not None and key.seconds_left <= age:
            raise InvalidTokenError("expired key")
        self._touch(public_id)
        return Caller(key.user_id, key.scopes)

    async def close(self) -> None:
        """Wait for what is still being written."""
        await asyncio.gather(*self._touching, return_exceptions=True)

    async def _look_up(self, public_id: str) -> tuple[StoredKey | None, float]:
        now = time.monotonic()
        known = self._remembered.get(public_id)
        if known is None or now - known.looked_at > self._remembered_seconds:
            # The age counts from before the look: a revocation during it must not gain time.
            async with asyncio.timeout(READ_SECONDS):
                known = _Remembered(await self._store.find(public_id), now)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[public_id] = known
        return known.key, time.monotonic() - known.looked_at

    def _touch(self, public_id: str) -> None:
        now = time.monotonic()
        if now - self._touched_at.get(public_id, -_TOUCH_EVERY_SECONDS) < _TOUCH_EVERY_SECONDS:
            return
        if len(self._touched_at) >= _MOST_REMEMBERED:
            self._touched_at.clear()
        self._touched_at[public_id] = now
        # In nobody's context: the note is not part of the request that happens to cause it.
        task = asyncio.create_task(
            self._write_touch(public_id), name="touch api key", context=contextvars.Context()
        )
        self._touching.add(task)
        task.add_done_callback(self._touching.discard)

    async def _write_touch(self, public_id: str) -> None:
        try:
            await self._store.touch([public_id])
        except Exception as error:  # noqa: BLE001 - a loop's tick: when a key was used may be lost
            _log.debug("key_use_not_noted", error=type(error).__name__)


def _refused(detail: str, challenge: str) -> ProblemError:
    return ProblemError(
        UNAUTHENTICATED, detail, headers={"WWW-Authenticate": _CHALLENGE + challenge}
    )
