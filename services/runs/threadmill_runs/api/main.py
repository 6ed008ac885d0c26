"""Entry point of the runs api process."""

from contextlib import AsyncExitStack

from threadmill_chassis.grpc_server import serving
from threadmill_chassis.lifecycle import run_process, supervised
from threadmill_chassis.startup import read_settings

from threadmill_runs.api.settings import RunsSettings
from threadmill_runs.api.wiring import build


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    run_process(_serve)


async def _serve() -> None:
    settings = read_settings(RunsSettings, "runs")
    async with AsyncExitStack() as stack:
        api = await build(settings, stack)
        await stack.enter_async_context(serving(settings, settings.bind, api.registrations))
        await supervised(api.stop, **api.duties)
