"""Entry point of the executor process."""

import asyncio
from contextlib import AsyncExitStack

import structlog
from threadmill_chassis.grpc_server import serving
from threadmill_chassis.lifecycle import run_process, supervised
from threadmill_chassis.startup import read_settings

from threadmill_runs.executor.graphs.config_file import read_config
from threadmill_runs.executor.graphs.registry import GraphRegistry
from threadmill_runs.executor.loop_bound import share_clients_between_loops
from threadmill_runs.executor.running import tap
from threadmill_runs.executor.settings import ExecutorSettings
from threadmill_runs.executor.wiring import build

log = structlog.get_logger(__name__)

ATTACH_SECONDS = 5.0


def main() -> None:
    """Loads the application, then executes its runs until SIGTERM or SIGINT, and drains."""
    run_process(_execute)


async def _execute() -> None:
    settings = read_settings(ExecutorSettings, "executor")
    share_clients_between_loops()
    tap.install()
    registry = GraphRegistry.load(read_config(settings.config))
    async with AsyncExitStack() as stack:
        executor = build(settings, registry, stack)
        link = asyncio.create_task(executor.link.run(), name="control link")
        # Whoever sees us healthy finds our graphs announced; without a runs api we still answer about graphs.
        await asyncio.wait({asyncio.ensure_future(executor.link.attached.wait())}, timeout=ATTACH_SECONDS)
        await stack.enter_async_context(serving(settings, settings.bind, executor.registrations))
        await supervised(
            lambda: executor.link.drain(settings.drain_seconds),
            control_link=_join(link),
            loop_watch=executor.loops.watch(),
        )


async def _join(task: "asyncio.Task[None]") -> None:
    await task
