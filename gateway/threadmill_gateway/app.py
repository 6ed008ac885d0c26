"""The ASGI application: the table of routes and what wraps them."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from threadmill_gateway.agent_protocol.routes import with_agent_protocol
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import HANDLERS
from threadmill_gateway.routes import assistants, crons, runs, state, store, streams, system, threads
from threadmill_gateway.routes.docs import described
from threadmill_gateway.routes.endpoint import Endpoint, routes_of
from threadmill_gateway.telemetry import Telemetry

# Fixed paths stand before patterns that would match them (`/threads/search` before `/threads/{thread_id}`).
ENDPOINTS: tuple[Endpoint, ...] = described(
    tuple(
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
            )
        )
    )
)

# `location` too: without it a browser cannot follow a stream that it lost.
EXPOSED_HEADERS = ("x-pagination-total", "x-pagination-next", "content-location", "location")


def create_app(gateway: Gateway) -> Starlette:
    """The application over `gateway`'s clients."""
    settings = gateway.settings
    return Starlette(
        routes=routes_of(ENDPOINTS, gateway),
        middleware=[
            Middleware(Telemetry, metrics=gateway.metrics),
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_allow_origins,
                allow_methods=("*",),
                allow_headers=("*",),
                allow_private_network=settings.cors_allow_private_network,
                expose_headers=EXPOSED_HEADERS,
                max_age=600,
            ),
        ],
        exception_handlers=dict(HANDLERS),
    )
