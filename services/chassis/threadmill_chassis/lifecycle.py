"""Start and end of a process: uvloop, signals, and side tasks whose death ends the process."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
import uvloop

from threadmill_chassis.errors import DomainError

log = structlog.get_logger(__name__)

# Python looks for cycles after every 700 new objects, a few times per call, and finds next to none.
GC_THRESHOLDS = (10_000, 20, 20)
CANCEL_AGAIN_SECONDS = 1.0


async def until_signal() -> signal.Signals:
    """For a process that has started: returns at the first SIGTERM or SIGINT."""
    _spare_the_garbage_collector()
    loop = asyncio.get_running_loop()
    received: asyncio.Future[signal.Signals] = loop.create_future()

    def receive(name: signal.Signals) -> None:
        if not received.done():
            received.set_result(name)

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, receive, name)
    return await received


def run_process(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs `main` on uvloop. A failure to start that we designed for ends with its one sentence and exit code 1."""
    try:
        uvloop.run(main())
    except* DomainError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        log.error("cannot_run", reason=str(error))
        sys.exit(1)


async def supervised(
    until_stopped: Callable[[], Coroutine[Any, Any, None]] | None = None,
    /,
    **duties: Coroutine[Any, Any, None],
) -> None:
    """Runs named side tasks until a signal arrives; if one ends or fails first, raises and so ends the process.

    After the signal, `until_stopped` finishes what is under way, with the side tasks still running.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_endless(name, duty), name=name) for name, duty in duties.items()]
        received = await until_signal()
        log.info("stopping", signal=received.name)
        if until_stopped is not None:
            await until_stopped()
        while pending := [task for task in tasks if not task.done()]:
            for task in pending:
                task.cancel()
            # Libraries lose a cancel now and then (redis-py's connect, `asyncio.wait_for` before Python 3.12).
            await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)


def _spare_the_garbage_collector() -> None:
    """What is loaded by now stays; and most of what a call makes is freed by counting references."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _endless(name: str, duty: Coroutine[Any, Any, None]) -> None:
    await duty
    raise RuntimeError(f"{name} ended, though it must not")
