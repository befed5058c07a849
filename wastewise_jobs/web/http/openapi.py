"""The OpenAPI 3.1 document, made from the route table and the models that validate. Pure."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from wastewise_jobs.web.http import problems as no
from wastewise_jobs.web.http.problems import PROBLEM_JSON, Refusal
from wastewise_jobs.web.http.route import JSON, PUBLIC, NoBody, Parameters, RawBody, Route
from wastewise_jobs.wire.types import JsonObject, Problem, RequestModel

_REF = "#/components/schemas/{model}"
_RAW_REFUSALS = (
    no.BODY_TIMEOUT,
    no.TOO_LARGE,
    no.UNSUPPORTED_MEDIA_TYPE,
)
_BEARER = "bearer"
_FIRST_ERROR = 400
# Refused before the limit is looked at.
_UNCOUNTED = {
    no.UNAUTHENTICATED.status,
    no.BODY_TIMEOUT.status,
    no.UNSUPPORTED_MEDIA_TYPE.status,
    no.EXPECTATION_FAILED.status,
}
_DESCRIPTION = """\
Jobs that analyse what a property pays for waste collection. Send `Authorization: Bearer` with a
token of your identity provider or with an API key. Every refusal is an RFC 9457 problem with a
stable `code`; every answer carries `X-Request-Id`. Repeating a request that was answered 429 or
503, or not at all, is safe where it changes nothing or carries an `Idempotency-Key`.
"""


def openapi(routes: Sequence[Route], *, version: str) -> JsonObject:
    """Describe the routes of this release."""
    paths: dict[str, JsonObject] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "wastewise-jobs", "version": version, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {
                _BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "a JSON Web Token, or an API key that begins with wwj_",
                }
            },
        },
    }


def refusals_of(route: Route) -> list[Refusal]:
    """Everything that the route, or a check before it, can refuse with."""
    found = [no.BAD_REQUEST, *no.PARAMETER_REFUSALS, *route.refusals, no.DATABASE_UNAVAILABLE]
    found.append(no.EXPECTATION_FAILED)
    if route.method != "GET":
        found.append(no.BUSY)
    if route.access != PUBLIC:
        found += [no.UNAUTHENTICATED, no.FORBIDDEN, no.TOO_MUCH_AT_ONCE, no.OVERLOADED]
    if route.rate_limited:
        found.append(no.RATE_LIMITED)
    if issubclass(route.parts.body, RawBody):
        found += _RAW_REFUSALS
    elif not issubclass(route.parts.body, NoBody):
        found += no.BODY_REFUSALS
    return list(dict.fromkeys(found))


def _operation(route: Route) -> JsonObject:
    operation: JsonObject = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": list(_parameters(route)),
        "responses": _responses(route),
        "security": [] if route.access == PUBLIC else [{_BEARER: []}],
    }
    if route.access != PUBLIC:
        operation["description"] = f"Needs the scope `{route.access}`."
    body = route.parts.body
    if issubclass(body, RawBody):
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    elif not issubclass(body, NoBody):
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": _ref(body)}}}
    return operation


def _operation_id(route: Route) -> str:
    words: list[str] = re.findall(r"[a-z0-9]+", f"{route.method} {route.path}".lower())
    return words[0] + "".join(word.capitalize() for word in words[1:])


def _parameters(route: Route) -> Iterable[JsonObject]:
    for where, model in (("path", route.parts.path), ("query", route.parts.query)):
        yield from _parameters_of(where, model)
    for name, description in route.request_headers.items():
        yield {
            "name": name,
            "in": "header",
            "required": False,
            "description": description,
            "schema": {"type": "string"},
        }


def _parameters_of(where: str, model: type[Parameters]) -> Iterable[JsonObject]:
    schema = model.model_json_schema(by_alias=True)
    required = schema.get("required", [])
    for name, described in schema.get("properties", {}).items():
        parameter: JsonObject = {
            "name": name,
            "in": where,
            "required": where == "path" or name in required,
            "schema": {k: v for k, v in described.items() if k not in {"title", "description"}},
        }
        if "description" in described:
            parameter["description"] = described["description"]
        yield parameter


def _responses(route: Route) -> dict[str, JsonObject]:
    responses: dict[str, JsonObject] = {}
    for status, body in route.answers.items():
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": _headers(route, status),
            **({"content": _content(body)} if body is not None else {}),
        }
    refusals = refusals_of(route)
    for status in sorted({refusal.status for refusal in refusals}):
        codes = ", ".join(f"`{r.code}`" for r in refusals if r.status == status)
        response = responses.setdefault(
            str(status), {"description": "", "headers": _headers(route, status), "content": {}}
        )
        response["description"] = f"{HTTPStatus(status).phrase}: {codes}"
        response["content"][PROBLEM_JSON] = {"schema": _ref(Problem)}
    return responses


def _content(body: type[BaseModel] | str) -> JsonObject:
    if not isinstance(body, str):
        return {JSON: {"schema": _ref(body)}}
    return {media_type: {"schema": _schema_of(media_type)} for media_type in body.split(", ")}


def _schema_of(media_type: str) -> JsonObject:
    if media_type == "text/event-stream":
        # OpenAPI 3.1 has no words for the events of a stream.
        return {}
    return {"type": "object"} if media_type == JSON else {"type": "string"}


def _headers(route: Route, status: int) -> dict[str, JsonObject]:
    names = ["X-Request-Id"]
    refusals = [refusal for refusal in refusals_of(route) if refusal.status == status]
    if any(r.retry_after_seconds is not None or r is no.RATE_LIMITED for r in refusals):
        names.append("Retry-After")
    if status == HTTPStatus.UNAUTHORIZED:
        names.append("WWW-Authenticate")
    if status == HTTPStatus.FORBIDDEN:
        names.append("WWW-Authenticate")
    if status < _FIRST_ERROR and route.located:
        names.append("Location")
    if route.rate_limited and status not in _UNCOUNTED:
        names += ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
    return {name: {"schema": {"type": "string"}} for name in names}


def _schemas(routes: Sequence[Route]) -> JsonObject:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
    for route in routes:
        if not issubclass(route.parts.body, NoBody | RawBody):
            wanted[route.parts.body, "validation"] = None
        for body in route.answers.values():
            if body is not None and not isinstance(body, str):
                wanted[body, "serialization"] = None
    _, definitions = models_json_schema(list(wanted), by_alias=True, ref_template=_REF)
    schemas: JsonObject = definitions["$defs"]
    return schemas


def _ref(model: type[BaseModel] | type[RequestModel]) -> dict[str, Any]:
    return {"$ref": _REF.format(model=model.__name__)}
