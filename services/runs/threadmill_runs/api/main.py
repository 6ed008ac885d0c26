"""Entry point of the runs api process."""

import asyncio
from contextlib import AsyncExitStack

from threadmill_chassis.grpc_server import serving
from threadmill_chassis.lifecycle import run_process, supervised
from threadmill_chassis.startup import read_settings

from threadmill_runs.api.settings import RunsSettings
from threadmill_runs.api.wiring import build

# In which gRPC tells its peers that the server takes no more calls; it does not say when it has.
GOAWAY_SECONDS = 0.1


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    run_process(_serve)


async def _serve() -> None:
    settings = read_settings(RunsSettings, "runs")
    async with AsyncExitStack() as stack:
        api = await build(settings, stack)
        server = await stack.enter_async_context(serving(settings, settings.bind, api.registrations))

        async def stop() -> None:
            """Calls that last are ended after the connections know that new ones go elsewhere: so theirs do."""
            stopping = asyncio.create_task(server.stop(settings.shutdown_grace_seconds))
            await asyncio.sleep(GOAWAY_SECONDS)
            await api.stop()
            await stopping

        await supervised(stop, **api.duties)
