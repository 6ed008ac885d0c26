"""Event loops for user code, in threads of their own.

A node that blocks its loop (time.sleep in an async node, a CPU loop, a synchronous HTTP call) must not stop the
process's heartbeats, nor another run's events. So gRPC has the main thread's loop to itself and every use of user code
has, while it lasts, a loop of its own. Loops are reused, the last one first, so that an idle server keeps few
threads and pooled connections stay on the loop that made them.
"""

import asyncio
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import structlog
import uvloop

T = TypeVar("T")
log = structlog.get_logger(__name__)

# Threads per loop for synchronous nodes; made on demand.
MAX_SYNC_THREADS = 64
# Python hands the interpreter from one busy thread to the next this often: the price of one heartbeat's delay.
SWITCH_SECONDS = 0.001
BLOCKED_AFTER_SECONDS = 1.0


class Work(Generic[T]):
    """A coroutine on a user loop, as the control loop sees it."""

    def __init__(self, loop: "UserLoop") -> None:
        self._user_loop = loop
        self._task: asyncio.Task[T] | None = None
        # Resolved when the coroutine has really ended, which a blocked one does long after its cancellation.
        self.ended: Future[T] = Future()

    def start(self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        """Called on the user loop."""
        self._task = loop.create_task(coroutine)
        self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.ended.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(task.result())

    def cancel(self) -> None:
        """Asks the coroutine to stop, once its loop gets round to it."""
        self._user_loop.call_soon(lambda: self._task and self._task.cancel())


class UserLoop:
    """One event loop in a daemon thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.label = ""
        self.abandoned = False
        self._loop = uvloop.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(MAX_SYNC_THREADS, thread_name_prefix=name))
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> "Work[T]":
        """Starts the coroutine here."""
        work: Work[T] = Work(self)
        self._loop.call_soon_threadsafe(work.start, coroutine, self._loop)
        return work

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Calls back on this loop, once it gets round to it."""
        self._loop.call_soon_threadsafe(callback)

    def where(self) -> str:
        """Innermost frames of the user's code that the thread is executing."""
        frame = sys._current_frames().get(self._thread.ident or -1)
        if frame is None:
            return ""
        frames = [
            f"{each.filename}:{each.lineno} in {each.name}"
            for each in traceback.extract_stack(frame)
            if "site-packages" not in each.filename and "/lib/python" not in each.filename
        ]
        return " ← ".join(reversed(frames[-3:]))

    def stop(self) -> None:
        """Ends the thread, unless user code is blocking it: then it ends with the process."""
        self._loop.call_soon_threadsafe(self._loop.stop)


async def finished(work: Work[T]) -> T:
    """Awaits the end of work from the control loop. Giving up here does not end the work."""
    return await asyncio.shield(asyncio.wrap_future(work.ended))


class UserLoops:
    """The pool of loops. All methods are for the control loop."""

    def __init__(self) -> None:
        self._idle: list[UserLoop] = []
        self._busy: set[UserLoop] = set()
        self._made = 0
        sys.setswitchinterval(SWITCH_SECONDS)

    @asynccontextmanager
    async def lend(self, label: str) -> AsyncIterator[UserLoop]:
        """A loop for the block; `label` names the work in warnings. An abandoned loop is not used again."""
        if self._idle:
            loop = self._idle.pop()
        else:
            self._made += 1
            loop = UserLoop(f"user-loop-{self._made}")
        loop.label = label
        self._busy.add(loop)
        try:
            yield loop
        finally:
            self._busy.discard(loop)
            if loop.abandoned:
                loop.stop()
            else:
                self._idle.append(loop)

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Executes the coroutine on a loop of the pool."""
        async with self.lend(getattr(coroutine, "__qualname__", "")) as loop:
            return await finished(loop.submit(coroutine))

    async def watch(self) -> None:
        """Names, for ever, the graphs whose loops are blocked: other runs go on, but theirs do not."""
        answered: dict[UserLoop, bool] = {}
        warned: set[UserLoop] = set()
        while True:
            for loop in self._busy:
                answered[loop] = False
                loop.call_soon(lambda loop=loop: answered.__setitem__(loop, True))  # type: ignore[misc]  # loop variable bound on purpose
            await asyncio.sleep(BLOCKED_AFTER_SECONDS)
            blocked = {loop for loop, answer in answered.items() if not answer and loop in self._busy}
            for loop in blocked - warned:
                log.warning("user_code_blocks_its_loop", work=loop.label, where=loop.where())
            warned = blocked
            answered.clear()

    def close(self) -> None:
        """Stops all idle loops; busy ones end with the process."""
        for loop in (*self._idle, *self._busy):
            loop.stop()
