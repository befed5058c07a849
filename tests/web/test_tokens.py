"""Forged, broken and stale tokens are all refused alike."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.support.api import ADA, ANN, SECRET, Api, serving, token
from tests.support.waiting import eventually
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.errors import ConfigurationError
from wastewise_jobs.web.access import tokens
from wastewise_jobs.web.access.auth import create_authenticator
from wastewise_jobs.web.access.jwks import JwksKeys
from wastewise_jobs.web.access.keys import KeyStore
from wastewise_jobs.web.access.tokens import InvalidTokenError, SharedSecret, TokenVerifier

EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NOW = int(time.time())
ISSUER = "https://project.example/auth/v1"


def claims(**changes: Any) -> dict[str, Any]:
    base = {"sub": str(ANN), "aud": "authenticated", "exp": 4_000_000_000, "iat": NOW}
    return {k: v for k, v in (base | changes).items() if v is not ...}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def raw_token(header: str, payload: str, secret: bytes = SECRET.encode()) -> str:
    """Signed with HMAC SHA-256, whatever the texts say."""
    signed = f"{b64(header.encode())}.{b64(payload.encode())}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{b64(mac)}"


def hs(header: dict[str, Any] | None = None, **changes: Any) -> str:
    return raw_token(json.dumps({"alg": "HS256"} | (header or {})), json.dumps(claims(**changes)))


PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
PUBLIC_DER = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
GOOD = hs()

# For a service that knows the shared secret.
FORGED_HS = {
    "empty": "",
    "no dots": "abc",
    "two segments": GOOD.rpartition(".")[0],
    "four segments": GOOD + ".x",
    "no signature": GOOD.rpartition(".")[0] + ".",
    "other signature": GOOD[:-4] + "AAAA",
    "other secret": raw_token('{"alg":"HS256"}', json.dumps(claims()), b"another" * 8),
    "empty secret": raw_token('{"alg":"HS256"}', json.dumps(claims()), b""),
    "alg none": raw_token('{"alg":"none"}', json.dumps(claims())),
    "alg None unsigned": jwt.encode(claims(), "", algorithm="none"),
    "alg nOnE": raw_token('{"alg":"nOnE"}', json.dumps(claims())),
    "alg missing": raw_token("{}", json.dumps(claims())),
    "alg null": raw_token('{"alg":null}', json.dumps(claims())),
    "alg list": raw_token('{"alg":["HS256"]}', json.dumps(claims())),
    "alg hs256 lower": raw_token('{"alg":"hs256"}', json.dumps(claims())),
    "alg HS512 of the same secret": jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
    "alg ES256": jwt.encode(claims(), EC_KEY, algorithm="ES256"),
    "alg RS256": jwt.encode(claims(), RSA_KEY, algorithm="RS256"),
    "header twice": raw_token('{"alg":"none","alg":"HS256"}', json.dumps(claims())),
    "header no object": raw_token('["HS256"]', json.dumps(claims())),
    "header no JSON": raw_token("{alg:HS256}", json.dumps(claims())),
    "crit": hs({"crit": ["exp"]}),
    "jku": hs({"jku": "https://evil.example/jwks.json"}),
    "x5u": hs({"x5u": "https://evil.example/x5u"}),
    "jwk": hs({"jwk": {"kty": "oct", "k": "AAAA"}}),
    "b64 false": hs({"b64": False}),
    "no exp": hs(exp=...),
    "exp past": hs(exp=NOW - 60),
    "exp text": hs(exp="4000000000"),
    "exp true": hs(exp=True),
    "exp infinite": raw_token('{"alg":"HS256"}', json.dumps(claims(exp=float("inf")))),
    "exp NaN": raw_token('{"alg":"HS256"}', json.dumps(claims(exp=float("nan")))),
    "exp bomb": raw_token('{"alg":"HS256"}', json.dumps(claims(exp=0)).replace(": 0", ": 1e9999")),
    "nbf future": hs(nbf=NOW + 3600),
    "nbf text": hs(nbf="x"),
    "iat far future": hs(iat=NOW + 86_400),
    "iat list": hs(iat=[1]),
    "no aud": hs(aud=...),
    "aud other": hs(aud="anon"),
    "aud list of others": hs(aud=["anon", "service_role"]),
    "aud number": hs(aud=5),
    "no sub": hs(sub=...),
    "sub no uuid": hs(sub="ann"),
    "sub number": hs(sub=5),
    "sub null": hs(sub=None),
    "sub braces": hs(sub="{" + str(ANN) + "}"),
    "sub nil": hs(sub="00000000-0000-0000-0000-000000000000"),
    "claims twice": raw_token('{"alg":"HS256"}', json.dumps(claims())[:-1] + f', "sub": "{ADA}"}}'),
    "claims no object": raw_token('{"alg":"HS256"}', '"text"'),
    "claims deep": raw_token('{"alg":"HS256"}', '{"a":' + "[" * 500 + "]" * 500 + "}"),
    "oversized": hs(padding="x" * 5000),
    "not base64": "!!!." + GOOD.partition(".")[2],
    "line break": GOOD[:10] + "%0A" + GOOD[10:],
    "a key that is none": "wwj_0123456789abcdef_" + "A" * 43,
    "half a key": "wwj_0123456789abcdef",
}


@pytest.mark.parametrize("forged", FORGED_HS.values(), ids=FORGED_HS.keys())
async def test_a_forged_token_is_refused(shared_api: Api, forged: str) -> None:
    reply = await shared_api.get("/api/jobs", bearer=forged)
    assert (reply.status, reply.code) == (401, "unauthenticated")
    challenge = 'Bearer realm="wastewise-jobs"'
    assert reply.headers["WWW-Authenticate"] in {challenge, f'{challenge}, error="invalid_token"'}


async def test_the_same_token_unforged_is_accepted(shared_api: Api) -> None:
    just_expired = hs(exp=int(time.time()) - 20)
    for good in (GOOD, hs(aud=["x", "authenticated"]), just_expired, hs({"typ": "JWT"})):
        assert (await shared_api.get("/api/jobs", bearer=good)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": GOOD},
        {"Authorization": f"Basic {GOOD}"},
        {"Authorization": f"Token {GOOD}"},
        {"Authorization": "Bearer"},
        {"Cookie": f"access_token={GOOD}; sb-access-token={GOOD}"},
        {"X-User-Id": str(ANN)},
        {"apikey": GOOD},
    ],
)
async def test_a_credential_anywhere_else_is_none(shared_api: Api, headers: dict[str, str]) -> None:
    reply = await shared_api.get("/api/jobs", user=None, headers=headers)
    assert (reply.status, reply.code) == (401, "unauthenticated")
    assert (await shared_api.get(f"/api/jobs?token={GOOD}", user=None)).status == 401


async def test_two_authorization_headers_are_refused(shared_api: Api) -> None:
    from multidict import CIMultiDict

    both = CIMultiDict([("Authorization", f"Bearer {GOOD}"), ("Authorization", f"Bearer {hs()}")])
    async with shared_api.session.get(f"{shared_api.url}/api/jobs", headers=both) as response:
        assert response.status == 401


@pytest.mark.parametrize(
    "metadata",
    [
        {"user_metadata": {"role": "admin"}},
        {"role": "admin"},
        {"app_metadata": "admin"},
        {"app_metadata": ["role", "admin"]},
        {"app_metadata": {"role": ["admin"]}},
        {"app_metadata": {"role": "Admin"}},
        {"app_metadata": {"roles": "admin"}},
        {},
    ],
)
async def test_nobody_becomes_an_admin_by_what_users_can_write(
    shared_api: Api, metadata: dict[str, Any]
) -> None:
    reply = await shared_api.get("/api/admin/keys", bearer=hs(**metadata))
    assert (reply.status, reply.code) == (403, "forbidden")
    assert 'error="insufficient_scope", scope="admin"' in reply.headers["WWW-Authenticate"]
    good = await shared_api.get("/api/admin/keys", bearer=hs(app_metadata={"role": "admin"}))
    assert good.status == 200


async def test_the_issuer_is_checked_where_one_is_set(web_pool: Pool) -> None:
    checking = create_authenticator(key_store=KeyStore(web_pool), jwt_secret=SECRET, issuer=ISSUER)
    async with serving(web_pool, authenticator=checking) as api:
        assert (await api.get("/api/jobs", bearer=hs(iss=ISSUER))).status == 200
        for wrong in (hs(), hs(iss="https://evil.example"), hs(iss=[ISSUER]), hs(iss=5)):
            assert (await api.get("/api/jobs", bearer=wrong)).status == 401


def test_a_short_secret_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="JWT_SECRET"):
        SharedSecret("x" * 31)


def test_a_short_previous_secret_is_refused_by_its_own_name(web_pool: Pool) -> None:
    with pytest.raises(ConfigurationError, match=r"^JWT_SECRET_PREVIOUS: "):
        create_authenticator(
            key_store=KeyStore(web_pool), jwt_secret=SECRET, previous_secret="x" * 31
        )


async def test_tokens_of_the_secret_before_count_until_it_is_taken_away(web_pool: Pool) -> None:
    before = b"the secret that was there before, long enough"
    old = raw_token('{"alg":"HS256"}', json.dumps(claims()), before)
    both = create_authenticator(
        key_store=KeyStore(web_pool), jwt_secret=SECRET, previous_secret=before.decode()
    )
    async with serving(web_pool, authenticator=both) as api:
        for good in (hs(), old):
            assert await status(api, good) == 200
        late = raw_token('{"alg":"HS256"}', json.dumps(claims(exp=NOW - 3600)), before)
        forged = raw_token(
            '{"alg":"HS256"}', json.dumps(claims()), b"a third secret, as long as those"
        )
        for bad in (late, forged, old[:-4] + "AAAA"):
            assert await status(api, bad) == 401
    alone = create_authenticator(key_store=KeyStore(web_pool), jwt_secret=SECRET)
    async with serving(web_pool, authenticator=alone) as api:
        assert await status(api, old) == 401


@dataclass
class Issuer:
    """A local server of a key set, whose answers the test decides."""

    url: str = ""
    fetches: int = 0
    status: int = 200
    body: bytes | None = None
    keys: list[dict[str, Any]] = field(default_factory=list)
    hold: asyncio.Event | None = None

    async def answer(self, request: web.Request) -> web.Response:
        self.fetches += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.status == 302:
            return web.Response(status=302, headers={"Location": str(request.url) + "?again"})
        body = self.body if self.body is not None else json.dumps({"keys": self.keys}).encode()
        return web.Response(status=self.status, body=body)


def ec_jwk(kid: str, key: ec.EllipticCurvePrivateKey = EC_KEY, **more: Any) -> dict[str, Any]:
    return ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid} | more


def rsa_jwk(kid: str, **more: Any) -> dict[str, Any]:
    return RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True) | {"kid": kid} | more


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    issuer = Issuer(keys=[ec_jwk("e1"), rsa_jwk("r1")])
    app = web.Application()
    app.router.add_get("/jwks.json", issuer.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    try:
        yield issuer
    finally:
        await runner.cleanup()


@asynccontextmanager
async def trusting(pool: Pool, issuer: Issuer) -> AsyncIterator[Api]:
    authenticator = create_authenticator(key_store=KeyStore(pool), jwks_url=issuer.url)
    async with serving(pool, authenticator=authenticator) as api:
        yield api


def signed(kid: str | None = "e1", key: Any = EC_KEY, algorithm: str = "ES256", **c: Any) -> str:
    return jwt.encode(
        claims(**c), key, algorithm=algorithm, headers={"kid": kid} if kid is not None else {}
    )


async def status(api: Api, bearer: str) -> int:
    return (await api.get("/api/jobs", bearer=bearer)).status


async def test_keys_of_both_kinds_are_taken_from_the_key_set(web_pool: Pool) -> None:
    async with issuing() as issuer, trusting(web_pool, issuer) as api:
        assert await status(api, signed()) == 200
        assert await status(api, signed("r1", RSA_KEY, "RS256")) == 200
        assert issuer.fetches == 1


async def test_tokens_that_confuse_keys_and_algorithms_are_refused(web_pool: Pool) -> None:
    pem, der = PUBLIC_PEM, PUBLIC_DER
    jwk = json.dumps(rsa_jwk("r1")).encode()
    header = '{"alg":"HS256","kid":"r1"}'
    body = json.dumps(claims())
    forged = [
        raw_token(header, body, pem),
        raw_token(header, body, b"\n" + pem),
        raw_token(header, body, pem.strip()),
        raw_token(header, body, der),
        raw_token(header, body, jwk),
        raw_token('{"alg":"RS256","kid":"r1"}', body, pem),
        raw_token('{"alg":"none","kid":"e1"}', body, b""),
        GOOD,
        token(admin=True),
        signed(None),
        signed(""),
        signed("unknown"),
        signed("r1"),
        signed("e1", RSA_KEY, "RS256"),
        signed("e1", OTHER_EC_KEY),
        signed("r1", RSA_KEY, "RS512"),
        signed("r1", RSA_KEY, "PS256"),
        signed("../e1"),
        jwt.encode(claims(), EC_KEY, algorithm="ES256", headers={"kid": "e1", "jku": "x"}),
        jwt.encode(claims(), EC_KEY, algorithm="ES256", headers={"kid": "e1", "x5c": []}),
    ]
    async with issuing() as issuer, trusting(web_pool, issuer) as api:
        for bearer in forged:
            assert await status(api, bearer) == 401, bearer
        # One at the start, one for the first unknown key, and then the cool-down.
        assert issuer.fetches <= 2


async def test_a_secret_and_a_key_set_are_trusted_side_by_side_and_never_confused(
    web_pool: Pool,
) -> None:
    header, body = '{"alg":"HS256","kid":"r1"}', json.dumps(claims())
    forged = [
        *(raw_token(header, body, key) for key in (PUBLIC_PEM, PUBLIC_PEM.strip(), PUBLIC_DER)),
        raw_token(header, body, json.dumps(rsa_jwk("r1")).encode()),
        raw_token('{"alg":"RS256","kid":"r1"}', body),
        raw_token('{"alg":"ES256","kid":"e1"}', body),
        raw_token('{"alg":"none","kid":"e1"}', body, b""),
        raw_token('{"alg":"hs256"}', body),
        raw_token('{"alg":"HS512"}', body),
        raw_token('{"alg":["HS256"]}', body),
        *(signed("unknown"), signed(None), signed("e1", OTHER_EC_KEY), signed("r1")),
    ]
    async with issuing() as issuer:
        issuer.keys.append({"kid": "o1", "kty": "oct", "k": b64(SECRET.encode())})
        both = create_authenticator(
            key_store=KeyStore(web_pool), jwt_secret=SECRET, jwks_url=issuer.url
        )
        async with serving(web_pool, authenticator=both) as api:
            assert await status(api, hs()) == 200
            # A secret needs no key set.
            assert issuer.fetches == 0
            assert await status(api, hs({"kid": "whatever"})) == 200
            assert await status(api, signed()) == 200
            assert await status(api, signed("r1", RSA_KEY, "RS256")) == 200
            for bearer in forged:
                assert await status(api, bearer) == 401, bearer
            assert issuer.fetches <= 2


async def test_many_tokens_at_once_cause_one_fetch(web_pool: Pool) -> None:
    async with issuing() as issuer, trusting(web_pool, issuer) as api:
        statuses = await asyncio.gather(*(status(api, signed()) for _ in range(50)))
        assert set(statuses) == {200}
        assert issuer.fetches == 1


async def test_known_keys_outlive_their_issuer(web_pool: Pool) -> None:
    async with issuing() as issuer, trusting(web_pool, issuer) as api:
        assert await status(api, signed()) == 200
        issuer.status = 500
        assert await status(api, signed("unknown")) == 401
        assert await status(api, signed()) == 200


async def test_without_any_keys_tokens_are_refused_and_keys_are_not(web_pool: Pool) -> None:
    async with issuing() as issuer:
        issuer.status = 503
        async with trusting(web_pool, issuer) as api:
            assert await status(api, signed()) == 401
            _, key = await KeyStore(web_pool).create(ANN, scopes=["read"])
            assert await status(api, key) == 200


BAD_SETS = [
    b"",
    b"[]",
    b"{}",
    b'{"keys": {}}',
    b'{"keys": []}',
    b'{"keys": [5, null, {"kid": 5}, {"kid": "e1"}, {"kid": "e1", "kty": "oct", "k": "AAAA"}]}',
    b'{"keys": "' + b"x" * 300_000 + b'"}',
    b"[" * 100_000,
    b"\xff",
    json.dumps({"keys": [ec_jwk("e1", use="enc")]}).encode(),
    json.dumps({"keys": [ec_jwk("e1", alg="HS256")]}).encode(),
    json.dumps({"keys": [ec_jwk("e1", x="AA")]}).encode(),
]


@pytest.mark.parametrize("body", BAD_SETS, ids=[b[:30].decode("latin-1") for b in BAD_SETS])
async def test_a_key_set_that_is_none_is_not_believed(body: bytes) -> None:
    async with issuing() as issuer:
        issuer.body = body
        keys = JwksKeys(issuer.url)
        with pytest.raises(Exception, match="unknown key"):
            await keys.key_for({"kid": "e1"})
        await keys.close()


async def test_redirects_are_not_followed() -> None:
    async with issuing() as issuer:
        issuer.status = 302
        keys = JwksKeys(issuer.url)
        with pytest.raises(Exception, match="unknown key"):
            await keys.key_for({"kid": "e1"})
        assert issuer.fetches == 1


async def test_a_new_key_is_found_after_the_cool_down() -> None:
    async with issuing() as issuer:
        keys = JwksKeys(issuer.url, cool_down_seconds=0)
        await keys.key_for({"kid": "e1"})
        issuer.keys.append(ec_jwk("e2", OTHER_EC_KEY))
        assert (await keys.key_for({"kid": "e2"}))[1] == "ES256"
        assert issuer.fetches == 2


async def test_a_client_that_goes_away_does_not_take_the_fetch_with_it() -> None:
    async with issuing() as issuer:
        issuer.hold = asyncio.Event()
        keys = JwksKeys(issuer.url)
        first = asyncio.create_task(keys.key_for({"kid": "e1"}))
        second = asyncio.create_task(keys.key_for({"kid": "e1"}))
        await eventually(lambda: issuer.fetches)
        first.cancel()
        issuer.hold.set()
        assert (await second)[1] == "ES256"
        assert issuer.fetches == 1


class CountingKeys(SharedSecret):
    """Says how often a key was asked for."""

    asked = 0

    async def key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        self.asked += 1
        return await super().key_for(header)


async def test_a_token_that_was_verified_counts_for_a_moment_and_no_longer_than_it_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = CountingKeys(SECRET)
    verifier = TokenVerifier(keys, audience="authenticated")
    callers = [await verifier.verify(hs()) for _ in range(3)]
    assert keys.asked == 1
    assert {caller.user_id for caller in callers} == {ANN}
    passed = time.monotonic() + 5
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: passed, time=time.time))
    await verifier.verify(hs())
    assert keys.asked == 2
    ending = hs(exp=int(time.time()) - tokens.LEEWAY_SECONDS + 2)
    await verifier.verify(ending)
    later = SimpleNamespace(monotonic=lambda: passed + 2.5, time=lambda: time.time() + 2.5)
    monkeypatch.setattr(tokens, "time", later)
    await verifier.verify(ending)
    assert keys.asked == 4
    with pytest.raises(InvalidTokenError):
        await verifier.verify(hs()[:-2])
