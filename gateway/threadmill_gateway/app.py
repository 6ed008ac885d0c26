"""The ASGI application: the table of routes and what wraps them."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from threadmill_gateway.agent_protocol.routes import with_agent_protocol
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import HANDLERS
from threadmill_gateway.mounting import MountPrefix
from threadmill_gateway.route_groups import without_groups
from threadmill_gateway.routes import assistants, crons, runs, state, store, streams, system, threads
from threadmill_gateway.routes.docs import described
from threadmill_gateway.routes.endpoint import Endpoint, routes_of
from threadmill_gateway.settings import GatewaySettings
from threadmill_gateway.telemetry import Telemetry
from threadmill_gateway.thread_protocol import routes as thread_protocol
from threadmill_gateway.thread_protocol.sockets import socket_routes

# Fixed paths stand before patterns that would match them (`/threads/search` before `/threads/{thread_id}`).
_UNDESCRIBED: tuple[Endpoint, ...] = tuple(
    with_agent_protocol(
        (
            *crons.ENDPOINTS,
            *threads.ENDPOINTS,
            *state.ENDPOINTS,
            *streams.ENDPOINTS,
            *runs.ENDPOINTS,
            *assistants.ENDPOINTS,
            *store.ENDPOINTS,
            *system.ENDPOINTS,
            *thread_protocol.ENDPOINTS,
        )
    )
)
ENDPOINTS = described(_UNDESCRIBED)


def create_app(gateway: Gateway) -> Starlette:
    """The application over `gateway`'s clients."""
    return Starlette(
        routes=[
            *socket_routes(gateway, gateway.settings.disabled_routes),
            *routes_of(_endpoints(gateway.settings), gateway),
        ],
        middleware=_middleware(gateway),
        exception_handlers=dict(HANDLERS),
    )


def _endpoints(settings: GatewaySettings) -> tuple[Endpoint, ...]:
    """Those that this deployment serves, described as it serves them."""
    groups = frozenset(settings.disabled_routes)
    served = described(tuple(without_groups(_UNDESCRIBED, groups)), settings.mount_prefix)
    return tuple(without_groups(served, groups))


def _middleware(gateway: Gateway) -> list[Middleware]:
    """Outermost first. Answers of every kind, also 404 outside the prefix, are counted and may be read by pages."""
    settings = gateway.settings
    wrappers = [
        Middleware(Telemetry, metrics=gateway.metrics, logged=settings.logging_headers),
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_allow_origins,
            allow_origin_regex=settings.cors_allow_origin_regex,
            allow_methods=settings.cors_allow_methods,
            allow_headers=settings.cors_allow_headers,
            allow_credentials=settings.cors_allow_credentials,
            allow_private_network=settings.cors_allow_private_network,
            expose_headers=settings.cors_expose_headers,
            max_age=settings.cors_max_age_seconds,
        ),
    ]
    if settings.mount_prefix:
        wrappers.append(Middleware(MountPrefix, prefix=settings.mount_prefix))
    return wrappers
