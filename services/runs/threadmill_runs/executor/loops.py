"""Event loops for user code, in threads of their own.

gRPC, heartbeats and cancels have the main thread's loop to themselves. User code normally shares one other loop, the
*main user loop*, because applications keep asynchronous clients (database pools, HTTP clients) in module variables,
and those belong to the loop that first used them.

A node that blocks the loop (time.sleep in an async node, a CPU loop, a synchronous HTTP call) would stop everyone
else on it. So the loops are watched, and when one does not answer:
  - the work that blocks it is named in a warning, with the line of code;
  - the other runs on it are told, and go on from their last checkpoint elsewhere;
  - new work is placed on spare loops, one each, until the main user loop answers again;
  - a graph that does it repeatedly gets a spare loop for every run from then on.
"""

import asyncio
import contextvars
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import structlog
import uvloop
from langchain_core.runnables.config import var_child_runnable_config

T = TypeVar("T")
log = structlog.get_logger(__name__)

# Threads per loop for synchronous nodes; made on demand. A node whose run was cancelled keeps its thread until it
# returns, so there are many more than slots, and a warning at each doubling of those that are in use.
MAX_SYNC_THREADS = 1024
MANY_SYNC_THREADS = 128
# Python hands the interpreter from one busy thread to the next this often: the price of one heartbeat's delay.
SWITCH_SECONDS = 0.001
WATCH_SECONDS = 0.25
STALLED_AFTER_SECONDS = 1.5
# A first call that imports a large library blocks too; only who does it again is kept apart.
OFFENCES_UNTIL_ISOLATED = 2
REPLACED_AFTER_SECONDS = 60.0

_CURRENT_WORK: "contextvars.ContextVar[Work[Any] | None]" = contextvars.ContextVar("current_work", default=None)


class Work(Generic[T]):
    """A coroutine on a user loop, as the control loop sees it."""

    def __init__(self, loop: "UserLoop", graph_id: str, label: str, on_stalled: Callable[[], None] | None) -> None:
        self.loop = loop
        self.graph_id = graph_id
        self.label = label
        self.on_stalled = on_stalled
        self._task: asyncio.Task[T] | None = None
        # Resolved when the coroutine has really ended, which a blocked one does long after its cancellation.
        self.ended: Future[T] = Future()

    def start(self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        """Called on the user loop."""
        context = contextvars.copy_context()
        context.run(_CURRENT_WORK.set, self)
        self._task = loop.create_task(coroutine, context=context)
        self.loop.own(self._task, self)
        self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[T]) -> None:
        self._task = None  # the loop finds us by our task, weakly: were it ours too, both would stay, with the result
        if task.cancelled():
            self.ended.set_exception(asyncio.CancelledError())
        elif isinstance(error := task.exception(), Exception):
            self.ended.set_exception(error)
        elif error is not None:  # SystemExit and their like: nobody who waits for a run expects them
            self.ended.set_exception(RuntimeError(f"user code raised {error!r}"))
        else:
            self.ended.set_result(task.result())

    def cancel(self) -> None:
        """Asks the coroutine to stop, once its loop gets round to it."""
        self.loop.call_soon(lambda: self._task and self._task.cancel())


class SyncThreads(ThreadPoolExecutor):
    """Threads for synchronous nodes, counted while they are in use."""

    def __init__(self, name: str) -> None:
        super().__init__(MAX_SYNC_THREADS, thread_name_prefix=name)
        self._name = name
        self._busy = 0
        self._warn_at = MANY_SYNC_THREADS
        self._counting = threading.Lock()

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """As the base class does."""
        self._count(1)
        future = super().submit(function, *args, **kwargs)
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def _count(self, change: int) -> None:
        with self._counting:
            self._busy += change
            if self._busy < self._warn_at:
                return
            self._warn_at *= 2
        log.warning("many_synchronous_calls", loop=self._name, busy=self._busy, limit=MAX_SYNC_THREADS)


class UserLoop:
    """One event loop in a daemon thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.works: set[Work[Any]] = set()
        self.stalled = False
        self._stopping = False
        self._asked_at: float | None = None
        self._owners: WeakKeyDictionary[asyncio.Future[Any], Work[Any]] = WeakKeyDictionary()
        # What LangChain knows of each task: the node that it executes.
        self._contexts: WeakKeyDictionary[asyncio.Future[Any], contextvars.Context] = WeakKeyDictionary()
        self._loop = uvloop.new_event_loop()
        self._loop.set_task_factory(self._make_task)
        self._loop.set_default_executor(SyncThreads(name))
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._stopping:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:  # asyncio lets these out of the loop that others share
                log.warning("user_code_exits", error=repr(error))

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, context: contextvars.Context | None = None
    ) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
        owner = _CURRENT_WORK.get()
        if owner is not None:
            self._owners[task] = owner
            if context is not None:
                self._contexts[task] = context
        return task

    def own(self, task: "asyncio.Task[Any]", work: "Work[Any]") -> None:
        """The task is the work's first; those that it creates are known by their context."""
        self._owners[task] = work

    def start(self, work: "Work[T]", coroutine: Coroutine[Any, Any, T]) -> None:
        """Starts the coroutine here."""
        self.works.add(work)
        self._loop.call_soon_threadsafe(work.start, coroutine, self._loop)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Calls back on this loop, once it gets round to it."""
        self._loop.call_soon_threadsafe(callback)

    def ping(self) -> float:
        """Asks for a sign of life; answers for how many seconds the last one has been outstanding."""
        if self._asked_at is not None:
            return monotonic() - self._asked_at
        self._asked_at = monotonic()
        self.call_soon(self._answer)
        return 0.0

    def _answer(self) -> None:
        self._asked_at = None

    def executing(self) -> "Work[Any] | None":
        """The work whose code the thread is executing at the moment."""
        task = asyncio.current_task(self._loop)
        return self._owners.get(task) if task is not None else None

    def node(self) -> str:
        """Name of the node that the thread is executing at the moment; empty if that is not to be known."""
        task = asyncio.current_task(self._loop)
        context = self._contexts.get(task) if task is not None else None
        config = context.get(var_child_runnable_config) if context is not None else None
        return str((config or {}).get("metadata", {}).get("langgraph_node", ""))

    def where(self) -> str:
        """Innermost frames of the user's code that the thread is executing."""
        frame = sys._current_frames().get(self._thread.ident or -1)
        if frame is None:
            return ""
        frames = [
            f"{each.filename}:{each.lineno} in {each.name}"
            for each in traceback.extract_stack(frame)
            if "site-packages" not in each.filename and "/lib/python" not in each.filename and each.filename != __file__
        ]
        return " ← ".join(reversed(frames[-3:]))

    def stop(self) -> None:
        """Ends the thread, unless user code is blocking it: then it ends with the process."""
        self._stopping = True
        self._loop.call_soon_threadsafe(self._loop.stop)


async def finished(work: Work[T]) -> T:
    """Awaits the end of work from the control loop. Giving up here does not end the work."""
    return await asyncio.shield(asyncio.wrap_future(work.ended))


class UserLoops:
    """The main user loop and its spares. All methods are for the control loop."""

    def __init__(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._made = 0
        self._offences: Counter[str] = Counter()
        self._main = self._make()
        self._spares: list[UserLoop] = []

    def _make(self) -> UserLoop:
        self._made += 1
        return UserLoop(f"user-loop-{self._made}")

    def start(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        graph_id: str = "",
        label: str = "",
        on_stalled: Callable[[], None] | None = None,
    ) -> Work[T]:
        """Starts a coroutine where it disturbs nobody; `on_stalled` is called if another one disturbs it."""
        loop = self._place(graph_id)
        work: Work[T] = Work(loop, graph_id, label or getattr(coroutine, "__qualname__", ""), on_stalled)
        control = asyncio.get_running_loop()
        work.ended.add_done_callback(lambda _: control.call_soon_threadsafe(loop.works.discard, work))
        loop.start(work, coroutine)
        return work

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Executes the coroutine to its end."""
        return await finished(self.start(coroutine))

    def _place(self, graph_id: str) -> UserLoop:
        if not self._main.stalled and self._offences[graph_id] < OFFENCES_UNTIL_ISOLATED:
            return self._main
        for spare in reversed(self._spares):
            if not spare.works:
                return spare
        self._spares.append(self._make())
        return self._spares[-1]

    async def watch(self) -> None:
        """Looks, for ever, whether the loops answer."""
        while True:
            for loop in (self._main, *self._spares):
                self._look_at(loop, loop.ping())
            await asyncio.sleep(WATCH_SECONDS)

    def _look_at(self, loop: UserLoop, silent_seconds: float) -> None:
        if silent_seconds < STALLED_AFTER_SECONDS:
            if loop.stalled:
                loop.stalled = False
                log.info("user_loop_answers_again", loop=loop.name)
        elif not loop.stalled:
            self._stall(loop)
        elif loop is self._main and silent_seconds > REPLACED_AFTER_SECONDS:
            log.error("user_loop_replaced", loop=loop.name, where=loop.where())
            self._main = self._make()

    def _stall(self, loop: UserLoop) -> None:
        loop.stalled = True
        culprit = loop.executing()
        label = culprit.label if culprit else "unknown"
        where = {"graph_id": culprit.graph_id if culprit else "", "node": loop.node(), "where": loop.where()}
        log.warning("user_code_blocks_its_loop", work=label, others=len(loop.works) - 1, **where)
        if culprit is None:
            return
        self._offences[culprit.graph_id] += 1
        for work in list(loop.works - {culprit}):
            if work.on_stalled is not None:
                work.on_stalled()

    def close(self) -> None:
        """Stops all loops; a blocked one ends with the process."""
        for loop in (self._main, *self._spares):
            loop.stop()
