"""How an endpoint is declared, and how the endpoints of one path become a route."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import detail_response
from threadmill_gateway.slow_bodies import timed

Handler = Callable[[Request, Gateway], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter: its JSON schema and what it does."""

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer: what it says, and whether every such answer has it."""

    name: str
    description: str
    always: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `body` and `answer` are types whose JSON schemas document the two; None: empty.

    `headers` are those of successes that have a body. `formats` holds further media types of the answer and its types
    in them. `problem` is the type of its error bodies, where that is not the API's usual one. `also` holds further
    statuses and the types of their bodies; `bare` those statuses of failure whose body may be text without a content
    type instead. `calls` False: no service is asked, so none can be missing. `refusal` words a refusal that comes
    before the handler.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    body: Any = None
    answer: Any = None
    status: int = 200
    errors: tuple[int, ...] = ()
    query: tuple[Query, ...] = ()
    media_type: str = "application/json"
    problem: Any = None
    also: tuple[tuple[int, Any], ...] = ()
    headers: tuple[Header, ...] = ()
    formats: tuple[tuple[str, Any], ...] = ()
    bare: tuple[int, ...] = ()
    calls: bool = True
    refusal: Callable[[int, str], Response] = detail_response


class Resource:
    """The ASGI application of one path: picks the handler by method."""

    def __init__(self, path: str, endpoints: Sequence[Endpoint], gateway: Gateway) -> None:
        self._path = path
        self._endpoints = {endpoint.method: endpoint for endpoint in endpoints}
        if "GET" in self._endpoints:
            self._endpoints.setdefault("HEAD", self._endpoints["GET"])
        self.methods = sorted(self._endpoints)
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        scope["threadmill.route"] = self._path
        endpoint = self._endpoints[scope["method"]]  # the route refuses other methods
        if b"%00" in scope["query_string"] or "\0" in scope["path"]:  # Postgres keeps it in no text
            response = endpoint.refusal(422, "The URL must not hold NUL characters")
        else:
            request = Request(scope, timed(receive, self._gateway.settings.http_body_timeout_seconds), send)
            response = await endpoint.handler(request, self._gateway)
        await response(scope, receive, send)


def routes_of(endpoints: Iterable[Endpoint], gateway: Gateway) -> list[Route]:
    """One route for each path, in order of first mention: fixed paths must come before patterns that match them."""
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    resources = {path: Resource(path, group, gateway) for path, group in by_path.items()}
    return [Route(path, resource, methods=resource.methods) for path, resource in resources.items()]
