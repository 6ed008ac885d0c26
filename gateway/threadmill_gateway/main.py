"""The gateway process."""

import asyncio

import structlog
from threadmill_chassis import lifecycle
from threadmill_chassis.startup import read_settings

from threadmill_gateway.app import create_app
from threadmill_gateway.server import Server, listen, make_server
from threadmill_gateway.settings import GatewaySettings
from threadmill_gateway.wiring import build

log = structlog.get_logger(__name__)


def main() -> None:
    """Serves until SIGTERM or SIGINT. Exit code 1, with one sentence in the log, when it cannot start."""
    settings = read_settings(GatewaySettings, "gateway")
    lifecycle.run_process(lambda: serve(settings))


async def serve(settings: GatewaySettings) -> None:
    """Serves until a signal; then ends streams at once and gives other requests the drain time."""
    listener = listen(settings.host, settings.port)
    async with build(settings) as gateway:
        server = make_server(create_app(gateway), settings, gateway.closing)
        host, port = listener.getsockname()[:2]
        log.info("serving", url=f"http://{host}:{port}")
        async with asyncio.TaskGroup() as group:
            stopper = group.create_task(_stop_at_signal(server), name="signals")
            await server.serve([listener])
            stopper.cancel()


async def _stop_at_signal(server: Server) -> None:
    received = await lifecycle.until_signal()
    log.info("stopping", signal=received.name)
    server.should_exit = True
