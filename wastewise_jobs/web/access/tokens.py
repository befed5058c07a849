"""Verifies JSON Web Tokens. The algorithm is fixed by configuration and key, never by the token.

Where shared secrets and a key set are both trusted, HS256 is for the secrets alone and everything
else for the key set: neither can be taken for the other.
Headers that point to keys of the sender's choice (jku, x5u, jwk, x5c) or that demand extensions
(crit) are refused, and so are claims that occur twice.
"""

import math
import time
from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

import jwt

from wastewise_jobs.errors import ConfigurationError, InvalidInputError
from wastewise_jobs.jobs.storable import parse_json
from wastewise_jobs.web.http.caller import ADMIN, READ, WRITE, Caller

LEEWAY_SECONDS = 30
LONGEST_TOKEN = 6000
LEAST_SECRET_BYTES = 32
# A client sends the same token again and again. As long as for an API key, so that a key that its
# issuer withdraws is worth nothing within five seconds.
_REMEMBERED_SECONDS = 4.0
_MOST_REMEMBERED = 2_000
_REFUSED_HEADERS = frozenset({"crit", "jku", "x5u", "jwk", "x5c", "b64", "zip", "enc"})
_REQUIRED = ["exp", "sub", "aud"]
_SHARED = "HS256"


class InvalidTokenError(Exception):
    """The token proves nothing; why is for the log only."""


class Keys(Protocol):
    """Finds the key, and the one algorithm it is for, that a token's header names."""

    async def key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        """Return the key and its algorithm; raises InvalidTokenError when there is none."""
        ...


class SharedSecret:
    """HS256 with one secret, as Supabase's legacy tokens; `variable` is where it was said."""

    def __init__(self, secret: str, *, variable: str = "JWT_SECRET") -> None:
        self._secret = secret.encode()
        if len(self._secret) < LEAST_SECRET_BYTES:
            raise ConfigurationError(variable, f"must be at least {LEAST_SECRET_BYTES} bytes")

    async def key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        """Return the secret, whatever the header says."""
        del header
        return self._secret, _SHARED


class BothFamilies:
    """A shared secret and a key set, for as long as an issuer turns from one to the other."""

    def __init__(self, secret: SharedSecret, key_set: Keys) -> None:
        self._secret = secret
        self._key_set = key_set

    async def key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        """Return that of the family that the algorithm belongs to."""
        family = self._secret if header.get("alg") == _SHARED else self._key_set
        return await family.key_for(header)


class TokenVerifier:
    """Tokens of one issuer to callers; what was verified counts for a few seconds.

    `previous` is the secret before the present one.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        audience: str,
        issuer: str | None = None,
        previous: SharedSecret | None = None,
    ) -> None:
        self._keys = keys
        self._previous = previous
        self._audience = audience
        self._issuer = issuer
        # Callers, and until when on the monotonic clock.
        self._remembered: dict[str, tuple[Caller, float]] = {}

    async def verify(self, token: str) -> Caller:
        """Return whom the token speaks for; raises InvalidTokenError."""
        caller, until = self._remembered.get(token, (None, 0.0))
        if caller is not None and time.monotonic() < until:
            return caller
        claims = await self._verified(token)
        caller = _caller(claims)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        lasts = min(_REMEMBERED_SECONDS, claims["exp"] + LEEWAY_SECONDS - time.time())
        self._remembered[token] = (caller, time.monotonic() + lasts)
        return caller

    async def _verified(self, token: str) -> Mapping[str, Any]:
        header = _header(token)
        key, algorithm = await self._keys.key_for(header)
        if header.get("alg") != algorithm:
            raise InvalidTokenError("algorithm")
        try:
            return self._decoded(token, key, algorithm)
        except InvalidTokenError:
            if self._previous is None or algorithm != _SHARED:
                raise
        key, _ = await self._previous.key_for(header)
        return self._decoded(token, key, algorithm)

    def _decoded(self, token: str, key: Any, algorithm: str) -> Mapping[str, Any]:  # noqa: ANN401 - PyJWT's own
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": [*_REQUIRED, *(["iss"] if self._issuer else [])]},
            )
        # OverflowError and ValueError: times and numbers that are none, in a token that is signed.
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise InvalidTokenError(type(error).__name__) from None
        _check_strictly(_segment(token, 1))
        return claims


def _header(token: str) -> Mapping[str, Any]:
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise InvalidTokenError("size")
    header = _segment(token, 0)
    if _REFUSED_HEADERS & header.keys():
        raise InvalidTokenError("header")
    return header


def _segment(token: str, position: int) -> dict[str, Any]:
    parts = token.split(".")
    signed_parts = 3
    if len(parts) != signed_parts:
        raise InvalidTokenError("segments")
    try:
        raw = jwt.utils.base64url_decode(parts[position])
        value = parse_json(raw, max_bytes=LONGEST_TOKEN, max_depth=16)
    except (InvalidInputError, ValueError) as error:
        raise InvalidTokenError(type(error).__name__) from None
    if not isinstance(value, dict):
        raise InvalidTokenError("no object")
    return value


def _check_strictly(claims: Mapping[str, Any]) -> None:
    """What PyJWT would let pass: times written as texts, booleans or without an end."""
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidTokenError(name)
        if not math.isfinite(value) or value < 0:
            raise InvalidTokenError(name)


def _caller(claims: Mapping[str, Any]) -> Caller:
    subject = claims["sub"]
    try:
        user_id = UUID(subject)
    except (ValueError, TypeError, AttributeError):
        raise InvalidTokenError("sub") from None
    if str(user_id) != subject.lower() or user_id.int == 0:
        raise InvalidTokenError("sub")
    # app_metadata is written by the issuer's server alone; user_metadata by the users themselves.
    metadata = claims.get("app_metadata")
    admin = isinstance(metadata, dict) and metadata.get("role") == "admin"
    return Caller(user_id, frozenset({READ, WRITE, ADMIN} if admin else {READ, WRITE}))
