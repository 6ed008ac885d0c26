"""The API's description: /openapi.json and the page that shows it."""

from collections.abc import Sequence
from importlib.metadata import version

import orjson
from starlette.requests import Request
from starlette.responses import Response

from threadmill_gateway import encode
from threadmill_gateway.context import Gateway
from threadmill_gateway.docs_page import PAGE
from threadmill_gateway.models.base import JsonObject
from threadmill_gateway.openapi import openapi
from threadmill_gateway.routes.endpoint import Endpoint


async def docs(_: Request, __: Gateway) -> Response:
    """The documentation as a page."""
    return Response(PAGE, media_type="text/html")


def described(endpoints: Sequence[Endpoint], prefix: str = "") -> tuple[Endpoint, ...]:
    """The endpoints and, beside them, those that describe them all. `prefix`: where clients find the paths."""
    ready: list[bytes] = []

    async def openapi_json(_: Request, __: Gateway) -> Response:
        """The OpenAPI document."""
        if not ready:  # made when first asked for, once
            servers = {"servers": [{"url": prefix}]} if prefix else {}
            ready.append(orjson.dumps({**openapi(every, version("threadmill-gateway")), **servers}))
        return encode.json_response(ready[0])

    every = (
        *endpoints,
        Endpoint("GET", "/docs", docs, "Documentation", answer=str, media_type="text/html", calls=False),
        Endpoint("GET", "/openapi.json", openapi_json, "OpenAPI document", answer=JsonObject, calls=False),
    )
    return every
