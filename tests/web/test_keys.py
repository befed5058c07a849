"""API keys: made once, hashed at rest, limited by scope, expiry and revocation."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.support.api import ADA, ANN, BOB, NOBODYS_ID, Api, Reply
from tests.support.waiting import eventually
from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.web.access.auth import KeyVerifier
from wastewise_jobs.web.access.keys import KeyStore
from wastewise_jobs.web.access.tokens import InvalidTokenError


async def make(api: Api, **body: object) -> Reply:
    reply = await api.post(
        "/api/admin/keys",
        {"userId": str(ANN), "scopes": ["read", "write"]} | body,
        user=ADA,
        admin=True,
    )
    assert reply.status == 201, reply.body
    return reply


async def test_a_key_is_shown_once_and_acts_as_its_user(api: Api) -> None:
    made = (await make(api, name="front end", expiresAt="2099-01-01T00:00:00Z")).json
    key = made.pop("key")
    assert key.startswith(f"wwj_{made['publicId']}_")

    job_id = await api.new_job(bearer=key)
    assert (await api.get(f"/api/jobs/{job_id}", user=ANN)).status == 200
    assert (await api.get(f"/api/jobs/{job_id}", user=BOB)).status == 404

    listed = (await api.get("/api/admin/keys", user=ADA, admin=True)).json["keys"]
    assert [k | {"lastUsedAt": None} for k in listed] == [made]
    assert made == {
        "id": made["id"],
        "publicId": made["publicId"],
        "userId": str(ANN),
        "name": "front end",
        "scopes": ["read", "write"],
        "createdAt": made["createdAt"],
        "expiresAt": "2099-01-01T00:00:00Z",
        "revokedAt": None,
        "lastUsedAt": None,
    }


async def test_the_database_holds_no_usable_key(api: Api) -> None:
    key = (await make(api)).json["key"]
    secret = key.split("_", 2)[2]
    stored = await api.pool.fetchval("SELECT row_to_json(k)::text FROM api_keys k")
    assert key not in stored
    assert secret not in stored


async def test_scopes_limit_what_a_key_may_do(api: Api) -> None:
    reads = (await make(api, scopes=["read"])).json["key"]
    writes = (await make(api, scopes=["write"])).json["key"]
    rules = (await make(api, scopes=["admin"])).json["key"]

    assert (await api.get("/api/jobs", bearer=reads)).status == 200
    refused = await api.analyze(bearer=reads)
    assert (refused.status, refused.code) == (403, "forbidden")
    assert refused.headers["WWW-Authenticate"].endswith('scope="write"')
    assert (await api.analyze(bearer=writes)).status == 201
    assert (await api.get("/api/jobs", bearer=writes)).status == 403
    for path in ("/api/jobs", "/api/admin/keys", "/api/admin/job-types"):
        assert (await api.get(path, bearer=rules)).status == 200
    assert (await api.analyze(bearer=rules)).status == 201


async def test_only_admins_manage_keys_and_see_job_types(api: Api) -> None:
    for method, path in [
        ("POST", "/api/admin/keys"),
        ("GET", "/api/admin/keys"),
        ("DELETE", f"/api/admin/keys/{NOBODYS_ID}"),
        ("GET", "/api/admin/job-types"),
    ]:
        reply = await api.request(method, path)
        assert (reply.status, reply.code) == (403, "forbidden")


async def test_a_revoked_key_stops_working_within_five_seconds(api: Api) -> None:
    made = (await make(api)).json
    assert (await api.get("/api/jobs", bearer=made["key"])).status == 200
    path = f"/api/admin/keys/{made['id']}"
    for _ in range(2):
        assert (await api.delete(path, user=ADA, admin=True)).status == 204

    async def is_refused() -> bool:
        return (await api.get("/api/jobs", bearer=made["key"])).status == 401

    await eventually(is_refused, within=5)
    missing = await api.delete(f"/api/admin/keys/{NOBODYS_ID}", user=ADA, admin=True)
    assert (missing.status, missing.code) == (404, "key_not_found")


async def test_an_expired_key_is_refused(api: Api) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    _, key = await KeyStore(api.pool).create(ANN, scopes=["read"], expires_at=past)
    assert (await api.get("/api/jobs", bearer=key)).status == 401


async def test_a_key_that_expires_while_it_is_remembered_is_refused(api: Api) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    _, key = await KeyStore(api.pool).create(ANN, scopes=["read"], expires_at=soon)
    verifier = KeyVerifier(KeyStore(api.pool), remembered_seconds=60)
    await verifier.verify(key)

    async def is_refused() -> bool:
        try:
            await verifier.verify(key)
        except InvalidTokenError:
            return True
        return False

    await eventually(is_refused, within=5)
    await verifier.close()


async def test_a_changed_secret_is_refused(api: Api) -> None:
    key = (await make(api)).json["key"]
    other = (await make(api)).json["key"]
    last = "A" if key[-1] != "A" else "B"
    for wrong in (key[:-1] + last, key[:20] + other[20:], key + "A", key[:-1], key.upper()):
        reply = await api.get("/api/jobs", bearer=wrong)
        assert reply.status == 401, wrong


async def test_use_is_noted_at_most_once_a_minute(api: Api) -> None:
    key = (await make(api)).json["key"]
    await asyncio.gather(*(api.get("/api/jobs", bearer=key) for _ in range(5)))

    async def used() -> datetime | None:
        found: datetime | None = await api.pool.fetchval("SELECT last_used_at FROM api_keys")
        return found

    first = await eventually(used)
    await KeyStore(api.pool).touch([key.split("_")[1]])
    assert await used() == first
    await api.pool.execute("UPDATE api_keys SET last_used_at = now() - interval '61 s'")
    await KeyStore(api.pool).touch([key.split("_")[1]])
    assert await used() != first


async def test_keys_are_listed_by_user_and_revoked_by_any_of_their_names(api: Api) -> None:
    store = KeyStore(api.pool)
    by_id, _ = await store.create(ANN, scopes=["read"])
    by_public_id, _ = await store.create(ANN, scopes=["read"])
    _, by_text = await store.create(ANN, scopes=["read"])
    await store.create(BOB, scopes=["read"])
    assert len(await store.list_keys()) == 4
    assert len(await store.list_keys(user_id=ANN)) == 3
    for name in (str(by_id.id).upper(), by_public_id.public_id, by_text):
        assert await store.revoke(name)
    assert all(key.revoked_at for key in await store.list_keys(user_id=ANN))
    assert not await store.revoke("wwj_")
    path = f"/api/admin/keys?userId={BOB}"
    assert len((await api.get(path, user=ADA, admin=True)).json["keys"]) == 1


async def test_a_key_needs_known_scopes(api: Api) -> None:
    with pytest.raises(InvalidInputError, match="scopes"):
        await KeyStore(api.pool).create(UUID(int=1), scopes=["root"])
    for scopes in ([], ["root"], ["read"] * 4, "read", None):
        reply = await api.post(
            "/api/admin/keys", {"userId": str(ANN), "scopes": scopes}, user=ADA, admin=True
        )
        assert (reply.status, reply.json["field"].partition(".")[0]) == (400, "scopes")


async def test_a_retired_job_type_takes_no_more_jobs_and_keeps_those_it_has(api: Api) -> None:
    waiting = await api.new_job()
    path = "/api/admin/job-types/echo"
    assert (await api.delete(path)).status == 403
    assert (await api.delete(path, user=ADA, admin=True)).status == 204
    assert (await api.analyze()).code == "unknown_job_type"
    assert (await api.get(f"/api/jobs/{waiting}")).json["status"] == "pending"
    again = await api.delete(path, user=ADA, admin=True)
    assert (again.status, again.code) == (404, "job_type_not_found")
