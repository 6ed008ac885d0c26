"""Which of the two APIs a request speaks, on the paths that they share.

A run names an `assistant_id` in the LangGraph API, which ignores unknown fields; so a body that has one is LangGraph's
whatever else it holds. A patch of a thread sets a state in the protocol only.
"""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from threadmill_gateway.context import Gateway
from threadmill_gateway.requests import read_json
from threadmill_gateway.routes.endpoint import Handler

STATE_KEYS = frozenset({"checkpoint", "messages", "values"})


def is_agent_run(document: Any) -> bool:
    """Whether the body of a run's creation is the protocol's."""
    return isinstance(document, dict) and "assistant_id" not in document


def is_agent_patch(document: Any) -> bool:
    """Whether the body of a thread's patch is the protocol's."""
    return isinstance(document, dict) and not STATE_KEYS.isdisjoint(document)


def by_dialect(langgraph: Handler, protocol: Handler, is_protocol: Callable[[Any], bool]) -> Handler:
    """A handler for both APIs, by the body of the request."""

    async def handler(request: Request, gateway: Gateway) -> Response:
        document = await read_json(request, gateway.settings.http_max_request_body_bytes)
        return await (protocol if is_protocol(document) else langgraph)(request, gateway)

    handler.__doc__ = f"{langgraph.__doc__}\n\nBy the Agent Protocol: {protocol.__doc__}"
    return handler
