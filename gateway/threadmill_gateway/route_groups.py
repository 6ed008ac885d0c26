"""Groups of endpoints that a deployment can leave out; their paths are then unknown (404)."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from threadmill_gateway import encode
from threadmill_gateway.context import Gateway
from threadmill_gateway.routes.endpoint import Endpoint
from threadmill_gateway.settings import RouteGroup

META = frozenset({"/info", "/docs", "/openapi.json", "/metrics"})
HEALTH = frozenset({"/ok", "/"})
# First segment of a path by group; agents are the Agent Protocol's name for assistants.
_FIRST: dict[str, RouteGroup] = {
    "assistants": "assistants", "agents": "assistants", "threads": "threads", "store": "store",
    "mcp": "mcp", "a2a": "a2a", "ui": "ui",
}  # fmt: skip


def group_of(path: str) -> RouteGroup | None:
    """The group that a path belongs to. Runs of a thread and crons are runs; health belongs to none."""
    segments = path.split("/")[1:]
    if "runs" in segments:
        return "runs"
    return "meta" if path in META else _FIRST.get(segments[0])


async def _alive(_: Request, __: Gateway) -> Response:
    """The process serves. Nothing is said about anything behind it."""
    return encode.document_response({"ok": True})


def without_groups(endpoints: Iterable[Endpoint], groups: Collection[RouteGroup]) -> Iterator[Endpoint]:
    """The endpoints of the other groups. Without `meta`, health tells and checks no more than that it answers."""
    for endpoint in endpoints:
        if group_of(endpoint.path) in groups:
            continue
        yield replace(endpoint, handler=_alive) if "meta" in groups and endpoint.path in HEALTH else endpoint
