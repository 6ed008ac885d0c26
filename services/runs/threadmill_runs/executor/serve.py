"""The executor at work, once its process has its environment: `main` imports this, and with it LangGraph, late."""

import asyncio
from contextlib import AsyncExitStack

from threadmill_chassis.grpc_server import serving
from threadmill_chassis.lifecycle import supervised

from threadmill_runs.executor.graphs.config_file import AppConfig
from threadmill_runs.executor.graphs.registry import GraphRegistry
from threadmill_runs.executor.loop_bound import share_clients_between_loops
from threadmill_runs.executor.running import tap
from threadmill_runs.executor.settings import ExecutorSettings
from threadmill_runs.executor.wiring import build

ATTACH_SECONDS = 5.0


async def serve(settings: ExecutorSettings, config: AppConfig) -> None:
    """Loads the application, then executes its runs until SIGTERM or SIGINT, and drains."""
    share_clients_between_loops()
    tap.install()
    registry = GraphRegistry.load(config)
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
