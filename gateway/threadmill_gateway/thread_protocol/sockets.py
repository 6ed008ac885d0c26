"""The protocol's WebSocket endpoints: who may open one, and its conversation."""

from collections.abc import Collection

import structlog
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import detail_response
from threadmill_gateway.requests import canonical_uuid
from threadmill_gateway.thread_protocol.session import Session

log = structlog.get_logger(__name__)

# The second is the Agent Protocol's; a plain GET there is the stream of the LangGraph API.
PATHS = ("/threads/{thread_id}/stream/events", "/threads/{thread_id}/stream")


class ThreadSocket:
    """The ASGI application of one path."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        settings = gateway.settings
        self._cors = CORSMiddleware(
            self, allow_origins=settings.cors_allow_origins, allow_origin_regex=settings.cors_allow_origin_regex
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one client until it goes."""
        socket = WebSocket(scope, receive, send)
        refusal = self._refusal(socket)
        if refusal is not None:
            await socket.send_denial_response(refusal)
            return
        await socket.accept()
        self._gateway.metrics.in_progress.inc()
        log.info("socket_opened", path=scope["path"])
        try:
            await Session(socket, self._gateway, str(canonical_uuid(socket.path_params["thread_id"]))).run()
        finally:
            self._gateway.metrics.in_progress.dec()
            log.info("socket_closed", path=scope["path"])

    def _refusal(self, socket: WebSocket) -> Response | None:
        """Pages of other origins are refused here: browsers ask about events and fetches, but not about sockets."""
        origin = socket.headers.get("origin")
        if origin is not None:
            is_own = origin.partition("://")[2] == socket.headers.get("host", "")
            if not is_own and not self._cors.is_allowed_origin(origin):
                return detail_response(403, "Origin not allowed")
        if canonical_uuid(socket.path_params["thread_id"]) is None:
            return detail_response(422, "Invalid thread ID: must be a UUID")
        return None


def socket_routes(gateway: Gateway, disabled: Collection[str]) -> list[BaseRoute]:
    """Routes of the WebSockets; none where threads are not served."""
    return [] if "threads" in disabled else [WebSocketRoute(path, ThreadSocket(gateway)) for path in PATHS]
