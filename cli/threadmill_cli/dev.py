"""`threadmill dev`: everything on one machine, from nothing but a langgraph.json, until Ctrl-C."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any

from threadmill_cli.banner import banner
from threadmill_cli.output import Output
from threadmill_cli.project import Project
from threadmill_cli.refusal import CannotRun
from threadmill_cli.reload import changes
from threadmill_cli.stack import Stack, StackOptions, hold_stack

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def default_data_folder(config: Path) -> Path:
    """`.threadmill` beside the config file."""
    return config.resolve().parent / ".threadmill"


async def run_dev(options: StackOptions, output: Output, *, reload: bool) -> None:
    """Runs the system until a signal. CannotRun when it cannot start or go on."""
    with hold_stack(options, output) as stack:
        work = asyncio.create_task(_run(stack, reload=reload), name="dev")
        with _stopping_on_signals(work, stack), suppress(asyncio.CancelledError):
            await work


async def _run(stack: Stack, *, reload: bool) -> None:
    async with stack:
        duties: list[Coroutine[Any, Any, None]] = [_until_failure(stack)]
        if reload:
            for name in stack.executors:
                stack.supervisor.members[name].survives_refusal = True
            duties += [_reload_on_change(stack, project) for project in stack.projects]
        await _first_end(duties, lambda: stack.output.say(banner(stack, reload=reload)))


async def _until_failure(stack: Stack) -> None:
    raise await stack.supervisor.failed


async def _reload_on_change(stack: Stack, project: Project) -> None:
    async with aclosing(changes(project)) as bursts:
        async for files in bursts:
            names = ", ".join(sorted(file.name for file in files)[:3])
            stack.output.say(f"{names} changed: restarting the executor")
            try:
                await stack.reload()
            except CannotRun as refusal:
                stack.output.say(f"{refusal.message}; waiting for the next change", warning=True)
            else:
                stack.output.say("the executor is ready again")


async def _first_end(duties: list[Coroutine[Any, Any, None]], started: Callable[[], None]) -> None:
    """Runs all until one ends, then ends the others; raises what it raised. Calls `started` when all have begun."""
    tasks = [asyncio.create_task(duty) for duty in duties]
    try:
        await asyncio.sleep(0)  # each runs up to its first wait: the project is watched before we say so
        started()
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _stopping_on_signals(work: asyncio.Task[None], stack: Stack) -> Iterator[None]:
    """The first signal stops everything in order; a second one ends what is left at once."""
    loop = asyncio.get_running_loop()
    stopping = False

    def receive() -> None:
        nonlocal stopping
        if stopping:
            stack.supervisor.force_all()
        else:
            stopping = True
            stack.output.say("stopping (Ctrl-C again to stop at once)")
            work.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, receive)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
