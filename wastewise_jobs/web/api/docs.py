"""The API page: Swagger UI from our own files, under a policy that lets nothing else in."""

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files

import orjson
from aiohttp import web

from wastewise_jobs.web.api import tags
from wastewise_jobs.web.http.problems import NOT_FOUND, ProblemError
from wastewise_jobs.web.http.route import (
    JSON,
    PUBLIC,
    Call,
    NoBody,
    NoParameters,
    Parameters,
    Route,
)
from wastewise_jobs.wire.types import JsonObject

DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_SWAGGER = "static/swagger-ui"
_OURS = "static/docs"
# Only what is named here is served; the request never becomes a path.
_ASSETS = {
    "init.js": (_OURS, "text/javascript"),
    "page.css": (_OURS, "text/css"),
    "swagger-ui-bundle.js": (_SWAGGER, "text/javascript"),
    "swagger-ui.css": (_SWAGGER, "text/css"),
    "favicon-32x32.png": (_SWAGGER, "image/png"),
}


class AssetInPath(Parameters):
    """A file of the page."""

    asset: str


@dataclass(frozen=True, slots=True)
class _Asset:
    media_type: str
    content: bytes
    compressed: bytes
    etag: str


class DocsResource:
    """The handlers of /openapi.json, /docs and its files."""

    def __init__(self) -> None:
        self._document = b"{}"
        self._read: dict[str, _Asset] = {}
        self._reading = asyncio.Lock()

    def describe(self, document: JsonObject) -> None:
        """Serve this OpenAPI document; it is made from the routes, ours among them."""
        self._document = orjson.dumps(document)

    async def openapi(self, call: Call[NoParameters, NoParameters, NoBody]) -> web.StreamResponse:
        """The description of this API in OpenAPI 3.1."""
        del call
        return web.Response(
            body=self._document, content_type=JSON, headers={"Cache-Control": "no-cache"}
        )

    async def page(self, call: Call[NoParameters, NoParameters, NoBody]) -> web.StreamResponse:
        return await self._answer(call.request, "index.html", _OURS, "text/html")

    async def asset(self, call: Call[AssetInPath, NoParameters, NoBody]) -> web.StreamResponse:
        """A script, a style or the icon of the page."""
        name = call.path.asset
        if name not in _ASSETS:
            raise ProblemError(NOT_FOUND, "there is nothing here")
        return await self._answer(call.request, name, *_ASSETS[name])

    async def _answer(
        self, request: web.Request, name: str, folder: str, media_type: str
    ) -> web.Response:
        # One after the other: whoever comes while it is read for the first time waits for that.
        async with self._reading:
            if name not in self._read:
                self._read[name] = await asyncio.to_thread(_read, name, folder, media_type)
        asset = self._read[name]
        headers = {
            "Content-Security-Policy": DOCS_POLICY,
            "Cache-Control": "no-cache",
            "ETag": f'"{asset.etag}"',
            "Vary": "Accept-Encoding",
        }
        if any(etag.value == asset.etag for etag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        body = asset.content
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = asset.compressed, "gzip"
        charset = "utf-8" if media_type.startswith("text/") else None
        return web.Response(body=body, content_type=media_type, charset=charset, headers=headers)


def routes(docs: DocsResource) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            "/openapi.json",
            docs.openapi,
            PUBLIC,
            "This description",
            answers={200: JSON},
            tag=tags.SERVICE,
        ),
        Route(
            "GET",
            "/docs",
            docs.page,
            PUBLIC,
            "This description as a page",
            answers={200: "text/html", 304: None},
            tag=tags.SERVICE,
        ),
        Route(
            "GET",
            "/docs/{asset}",
            docs.asset,
            PUBLIC,
            "A file of that page",
            answers={200: "text/javascript, text/css, image/png", 304: None},
            refusals=(NOT_FOUND,),
            tag=tags.SERVICE,
        ),
    )


def _read(name: str, folder: str, media_type: str) -> _Asset:
    content = (files("wastewise_jobs.web") / folder / name).read_bytes()
    etag = hashlib.sha256(content).hexdigest()[:16]
    return _Asset(media_type, content, gzip.compress(content, mtime=0), etag)
