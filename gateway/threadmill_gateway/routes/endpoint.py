"""How an endpoint is declared, and how the endpoints of one path become a route."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from threadmill_gateway.context import Gateway

Handler = Callable[[Request, Gateway], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter: its JSON schema and what it does."""

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `body` and `answer` are types whose JSON schemas document the two; None: empty.

    `problem` is the type of its error bodies, where that is not the API's usual one.
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
    problem: type[BaseModel] | None = None


class Resource:
    """The ASGI application of one path: picks the handler by method."""

    def __init__(self, path: str, endpoints: Sequence[Endpoint], gateway: Gateway) -> None:
        self._path = path
        self._handlers = {endpoint.method: endpoint.handler for endpoint in endpoints}
        if "GET" in self._handlers:
            self._handlers.setdefault("HEAD", self._handlers["GET"])
        self.methods = sorted(self._handlers)
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        scope["threadmill.route"] = self._path
        handler = self._handlers[scope["method"]]  # the route refuses other methods
        response = await handler(Request(scope, receive, send), self._gateway)
        await response(scope, receive, send)


def routes_of(endpoints: Iterable[Endpoint], gateway: Gateway) -> list[Route]:
    """One route for each path, in order of first mention: fixed paths must come before patterns that match them."""
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    resources = {path: Resource(path, group, gateway) for path, group in by_path.items()}
    return [Route(path, resource, methods=resource.methods) for path, resource in resources.items()]
