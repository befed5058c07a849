"""The document, the router and the answers agree."""

from typing import Any

from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.api import NOBODYS_ID, Api
from wastewise_jobs.db.pool import Pool
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.jobs.types import JobTypeStore
from wastewise_jobs.projects.store import ProjectStore
from wastewise_jobs.web.access.auth import create_authenticator
from wastewise_jobs.web.access.keys import KeyStore
from wastewise_jobs.web.app import ROUTES, create_app
from wastewise_jobs.web.http.route import PUBLIC


def application(pool: Pool) -> web.Application:
    return create_app(
        pool=pool,
        job_store=JobStore(pool),
        job_types=JobTypeStore(pool),
        project_store=ProjectStore(pool),
        authenticator=create_authenticator(key_store=KeyStore(pool)),
        ring=lambda _: None,
    )


async def test_the_document_is_valid_openapi_3_1(api: Api) -> None:
    OpenAPIV31SpecValidator(api.document).validate()
    assert api.document["openapi"] == "3.1.0"


async def test_every_route_of_the_router_is_documented_and_the_other_way_round(
    api: Api, web_pool: Pool
) -> None:
    app = application(web_pool)
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    documented = {
        (method, path)
        for path, operations in api.document["paths"].items()
        for method in operations
    }
    assert served == documented
    assert len(served) == len(app[ROUTES])


async def test_no_route_is_open_without_saying_so(api: Api, web_pool: Pool) -> None:
    tried = 0
    for route in application(web_pool)[ROUTES]:
        parts = {"filename": "a.csv", "format": "html", "asset": "init.js", "jobType": "echo"}
        path = route.path.format(id=NOBODYS_ID, job=NOBODYS_ID, **parts)
        reply = await api.request(route.method, path, user=None)
        if route.access == PUBLIC:
            # Open to whoever has a signed link.
            signed = route.path.startswith("/alerts/")
            assert reply.status == (403 if signed else 200), path
            continue
        tried += 1
        assert (reply.status, reply.code) == (401, "unauthenticated"), path
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="wastewise-jobs"'
    assert tried > 15
    public = {r.path for r in application(web_pool)[ROUTES] if r.access == PUBLIC}
    assert public == {
        "/livez",
        "/readyz",
        "/openapi.json",
        "/docs",
        "/docs/{asset}",
        "/alerts/{id}/acknowledge",
        "/alerts/{id}/jobs/{job}",
    }


async def test_every_schema_of_the_document_is_used(api: Api) -> None:
    text = str(api.document)
    schemas: dict[str, Any] = api.document["components"]["schemas"]
    for name in schemas:
        assert f"#/components/schemas/{name}" in text
    assert {"AnalyzeRequest", "JobAnswer", "Problem", "ProjectRequest"} <= set(schemas)
