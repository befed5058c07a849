"""API keys: `wwj_<public id>_<secret>`, looked up by the public id, compared by hash.

Only the SHA-256 of the secret is stored; with 256 random bits it needs no slow hash. The key is
shown once, when it is made.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg

from wastewise_jobs.db.pool import Executor
from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.web.http.caller import ALL_SCOPES

PREFIX = "wwj_"
_KEY = re.compile(r"wwj_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)

_CREATE = """
INSERT INTO public.api_keys (public_id, secret_hash, user_id, name, scopes, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id, public_id, user_id, name, scopes, created_at, expires_at, revoked_at, last_used_at
"""
_LIST = """
SELECT id, public_id, user_id, name, scopes, created_at, expires_at, revoked_at, last_used_at
FROM public.api_keys
WHERE $1::uuid IS NULL OR user_id = $1
ORDER BY created_at DESC, id DESC
LIMIT 1000
"""
_REVOKE = """
UPDATE public.api_keys
SET revoked_at = coalesce(revoked_at, now())
WHERE id::text = $1 OR public_id = $1
RETURNING id
"""
_FIND = """
SELECT
    secret_hash, user_id, scopes,
    extract(epoch FROM expires_at - now())::double precision AS seconds_left
FROM public.api_keys
WHERE public_id = $1
  AND revoked_at IS NULL
"""
_TOUCH = """
UPDATE public.api_keys
SET last_used_at = now()
WHERE id IN (
    SELECT id
    FROM public.api_keys
    WHERE public_id = ANY ($1::text[])
      AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
    ORDER BY id
    FOR UPDATE SKIP LOCKED
)
"""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """An API key without its secret."""

    id: UUID
    public_id: str
    user_id: UUID
    name: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is needed to check a key; `seconds_left` is None for one that never expires."""

    secret_hash: bytes = field(repr=False)
    user_id: UUID
    scopes: frozenset[str]
    seconds_left: float | None


class KeyStore:
    """Reads and writes the rows of `api_keys`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def create(
        self,
        user_id: UUID,
        *,
        scopes: Sequence[str],
        name: str = "",
        expires_at: datetime | None = None,
    ) -> tuple[KeyInfo, str]:
        """Make a key; returns it with its text, which cannot be had again."""
        unknown = sorted(set(scopes) - ALL_SCOPES)
        if unknown or not scopes:
            raise InvalidInputError("scopes", f"must be some of {', '.join(sorted(ALL_SCOPES))}")
        public_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        row = await self._executor.fetchrow(
            _CREATE, public_id, secret_hash(secret), user_id, name, sorted(set(scopes)), expires_at
        )
        return _info(row), f"{PREFIX}{public_id}_{secret}"

    async def list_keys(self, *, user_id: UUID | None = None) -> list[KeyInfo]:
        """The newest thousand keys, of one user or of all; revoked ones too."""
        return [_info(row) for row in await self._executor.fetch(_LIST, user_id)]

    async def revoke(self, key: str) -> bool:
        """Revoke by id, public id or the whole key; False when there is none. Repeatable."""
        parts = split_key(key)
        wanted = parts[0] if parts else key.lower()
        return await self._executor.fetchval(_REVOKE, wanted) is not None

    async def find(self, public_id: str) -> StoredKey | None:
        """Return the unrevoked key with that public id, expired or not."""
        row = await self._executor.fetchrow(_FIND, public_id)
        if row is None:
            return None
        return StoredKey(
            row["secret_hash"], row["user_id"], frozenset(row["scopes"]), row["seconds_left"]
        )

    async def touch(self, public_ids: Sequence[str]) -> None:
        """Note that these keys were used just now, at most once a minute each."""
        await self._executor.execute(_TOUCH, public_ids)


def split_key(text: str) -> tuple[str, str] | None:
    """Public id and secret of a well-formed key."""
    match = _KEY.fullmatch(text)
    return (match[1], match[2]) if match else None


def secret_hash(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def _info(row: asyncpg.Record | None) -> KeyInfo:
    if row is None:
        raise LookupError("INSERT ... RETURNING returned nothing")
    return KeyInfo(*row)
