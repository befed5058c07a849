"""The issuer's public keys (JWKS), kept close.

One fetch at a time, whoever waits for it. A token with a key that we do not know causes at most
one fetch per cool-down, so nobody can make us hammer the issuer; while it is down the keys we have
go on working, for at most a day.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.jobs.storable import parse_json
from wastewise_jobs.logs import get_logger
from wastewise_jobs.outbound import NO_PROXIES, Proxies
from wastewise_jobs.web.access.tokens import InvalidTokenError

FRESH_SECONDS: Final = 600.0
STALE_SECONDS: Final = 86_400.0
COOL_DOWN_SECONDS: Final = 30.0
FETCH_SECONDS: Final = 5.0
MOST_BYTES: Final = 256 * 1024
MOST_KEYS: Final = 100
_LEAST_RSA_BITS: Final = 2048

_log = get_logger(__name__)


class JwksKeys:
    """Keys of a JWKS address, by `kid`: ES256 for P-256 keys, RS256 for RSA keys, nothing else."""

    def __init__(
        self,
        url: str,
        *,
        cool_down_seconds: float = COOL_DOWN_SECONDS,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._url = url
        self._proxy = proxies.of(url)
        self._cool_down_seconds = cool_down_seconds
        self._keys: Mapping[str, tuple[Any, str]] = {}
        self._loaded_at = -STALE_SECONDS
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        """Return the key named by the header's `kid` and its algorithm."""
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            raise InvalidTokenError("kid")
        age = time.monotonic() - self._loaded_at
        if age > FRESH_SECONDS or kid not in self._keys:
            await self._refresh()
            age = time.monotonic() - self._loaded_at
        if age > STALE_SECONDS or kid not in self._keys:
            raise InvalidTokenError("unknown key")
        return self._keys[kid]

    async def close(self) -> None:
        """Stop a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _refresh(self) -> None:
        now = time.monotonic()
        if self._fetching is None:
            if self._tried_at is not None and now - self._tried_at < self._cool_down_seconds:
                return
            self._tried_at = now
            self._fetching = asyncio.create_task(self._fetch(), name="jwks fetch")
        # Shielded: a client that goes away must not take the fetch from the others.
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self._keys = _parsed(await _download(self._url, self._proxy))
            self._loaded_at = time.monotonic()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, InvalidInputError) as error:
            _log.warning("jwks_not_fetched", error=type(error).__name__, keys=len(self._keys))
        finally:
            self._fetching = None


async def _download(url: str, proxy: str | None) -> bytes:
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.get(url, allow_redirects=False, proxy=proxy) as response,
    ):
        if response.status != 200:  # noqa: PLR2004 - the one status that carries keys
            raise ValueError(f"status {response.status}")
        raw = await response.content.read(MOST_BYTES + 1)
        while len(raw) <= MOST_BYTES and (part := await response.content.read(MOST_BYTES)):
            raw += part
    if len(raw) > MOST_BYTES:
        raise ValueError("too large")
    return raw


def _parsed(raw: bytes) -> Mapping[str, tuple[Any, str]]:
    document = parse_json(raw, max_bytes=MOST_BYTES)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise ValueError("no key set")
    keys = {}
    for item in listed:
        found = _public_key(item)
        if found is not None:
            keys[item["kid"]] = found
    if not keys:
        # An empty set is an accident of the issuer, not a reason to lock everybody out.
        raise ValueError("no usable key")
    return keys


def _public_key(item: object) -> tuple[Any, str] | None:
    """The key and its algorithm; None for keys of other kinds, which a set may hold as well."""
    if not isinstance(item, dict) or not isinstance(item.get("kid"), str):
        return None
    if item.get("use", "sig") != "sig" or item.get("kty") not in {"EC", "RSA"}:
        return None
    algorithm = "ES256" if item["kty"] == "EC" else "RS256"
    if item.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(item, algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return (key, algorithm) if _strong(key) else None


def _strong(key: object) -> bool:
    # By the key's own type as well: a private or symmetric key in the set verifies nothing.
    if isinstance(key, RSAPublicKey):
        return key.key_size >= _LEAST_RSA_BITS
    return isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp256r1"
