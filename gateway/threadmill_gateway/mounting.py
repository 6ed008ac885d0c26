"""Serves the API under a prefix."""

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from threadmill_gateway.errors import detail_response

# Probes of load balancers and of Prometheus need not know the prefix.
ALSO_AT_ROOT = frozenset({"/", "/ok", "/metrics"})


class MountPrefix:
    """Only what begins with `prefix` reaches the routes, which do not see it; everything else is 404."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        path: str = scope["path"]
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            scope["root_path"] = scope.get("root_path", "") + self._prefix
        elif path not in ALSO_AT_ROOT:
            refusal = WebSocketClose() if scope["type"] == "websocket" else detail_response(404, "Not Found")
            return await refusal(scope, receive, send)
        return await self._app(scope, receive, send)
