"""Hears what a graph streams at the moment it is emitted, before the checkpoint of its step is written.

`astream` yields the events of a step only while the next step runs, when the step's checkpoint may be durable already.
An executor that dies in between would leave clients without the events of a step that is never executed again. All
that LangGraph streams goes through one queue, made by `astream`; ours tells a listener as well. It replaces a private
name of `langgraph.pregel.main`: a test sees to it that the pinned version still uses it.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from langgraph._internal import _queue
from langgraph.pregel import main as pregel

Listener = Callable[[tuple[str, ...], str, Any], None]

_LISTENER: ContextVar[Listener | None] = ContextVar("stream_listener", default=None)


class TappedQueue(_queue.AsyncQueue):  # type: ignore[name-defined, misc]  # LangGraph leaves that module unchecked
    """LangGraph's queue of one `astream`; the first that a context makes has the listener, nested graphs' have none."""

    def __init__(self) -> None:
        super().__init__()
        self._listener = _LISTENER.get()
        _LISTENER.set(None)

    def put_nowait(self, item: tuple[tuple[str, ...], str, Any]) -> None:
        """Called on the graph's loop with (namespace, mode, data)."""
        if self._listener is not None:
            self._listener(*item)
        super().put_nowait(item)


def install() -> None:
    """Makes every later `astream` use the tapped queue."""
    pregel.AsyncQueue = TappedQueue  # type: ignore[attr-defined]  # see the module's docstring


def listen(listener: Listener) -> None:
    """The next `astream` of this context tells the listener everything that it streams."""
    _LISTENER.set(listener)
