"""Random requests to every address: always an answer, never a 5xx."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api import ADA, NOBODYS_ID, PROJECT, TYPES, Api

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from([NOBODYS_ID, "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "", 1e308])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = (
    "jobType",
    "projectId",
    "inputData",
    "priority",
    "idempotencyKey",
    "maxRetries",
    "timeoutSeconds",
    "runAt",
    *PROJECT,
    "userId",
    "scopes",
    "name",
    "expiresAt",
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6)
QUERIES = st.dictionaries(
    st.sampled_from(["limit", "cursor", "status", "jobType", "projectId", "userId", "wait", "x"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    max_size=3,
)
ANYTHING = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ANYTHING
@given(BODIES, st.sampled_from([{}, *({"jobType": info.job_type} for info in TYPES)]))
async def test_any_body_is_answered(
    shared_api: Api, body: dict[str, Any], job_type: dict[str, str]
) -> None:
    sent = body | job_type
    # As json.dumps writes it: with NaN, Infinity, lone surrogates and integers of any length.
    data = json.dumps(sent).encode()
    headers = {"Content-Type": "application/json"}
    for path in ("/api/analyze", "/api/projects", "/api/admin/keys"):
        reply = await shared_api.post(path, data=data, headers=headers, user=ADA, admin=True)
        assert reply.status < 500, (path, data)


@ANYTHING
@given(st.binary(max_size=200))
async def test_any_bytes_are_answered(shared_api: Api, data: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await shared_api.post("/api/analyze", data=data, headers=headers)
    assert 400 <= reply.status < 500, data


@ANYTHING
@given(QUERIES, st.sampled_from(["", NOBODYS_ID, "x", "%00", "%ff"]))
async def test_any_query_is_answered(shared_api: Api, query: dict[str, str], suffix: str) -> None:
    for base in ("/api/jobs", "/api/projects", "/api/admin/keys"):
        path = f"{base}/{suffix}" if suffix else base
        reply = await shared_api.get(path, params=query, user=ADA, admin=True)
        assert reply.status < 500, (path, query)
