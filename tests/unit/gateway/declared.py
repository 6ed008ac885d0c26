"""Holds every answer that the gateway's tests see against its own OpenAPI document."""

from typing import Any

import httpx
from starlette.routing import Match
from threadmill_gateway.app import ENDPOINTS
from threadmill_gateway.openapi import openapi
from threadmill_gateway.routes.endpoint import routes_of

DOCUMENT = openapi(ENDPOINTS, "1")
# No gateway is asked anything: the routes only tell which path of the document a request is meant for.
ROUTES = routes_of(ENDPOINTS, None)  # type: ignore[arg-type]
# What precedes or replaces every handler, and failures of services that no client can bring about.
ANYWHERE = frozenset({405, 431, 501})
CUSTOMARY = frozenset({"location", "content-location", "retry-after", "x-pagination-total", "x-pagination-next"})


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation that serves a request; None where there is none."""
    for route in ROUTES:
        if route.matches({"type": "http", "method": method, "path": path, "root_path": ""})[0] is Match.FULL:
            found: dict[str, Any] = DOCUMENT["paths"][route.path].get(method.lower())
            return found
    return None


async def is_declared(response: httpx.Response) -> None:
    """The status of an answer, its content type and its headers are those that the document names."""
    request = response.request
    operation = operation_of(request.method, request.url.path)
    if operation is None or response.status_code in ANYWHERE:
        return
    where = f"{request.method} {request.url.path}: {response.status_code}"
    declared = operation["responses"].get(str(response.status_code))
    assert declared is not None, f"{where} is not declared"
    content = declared.get("content", {})
    given = response.headers.get("content-type", "").partition(";")[0]
    if given:
        assert given in content, f"{where}: {given} is not declared"
    else:
        assert not content or "text/plain" in content, f"{where}: there is no content type"
    headers = {name.lower(): header["required"] for name, header in declared.get("headers", {}).items()}
    assert CUSTOMARY & response.headers.keys() <= headers.keys(), where
    assert {name for name, required in headers.items() if required} <= response.headers.keys(), where
