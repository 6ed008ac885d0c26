"""Lets one httpx client be used on several event loops.

httpx's connection pool keeps sockets of the loop that opened them; used on another loop, a request hangs for ever.
Applications share such clients through their models (`llm = ChatOpenAI(…)` at module level), and when a run has to
execute on a spare loop (see loops.py) they must go on working. So each pool gets a twin for each further loop, with
connections of its own. Reaches into httpcore's private state: a test drives it with the pinned version.
"""

import asyncio
import copy
from importlib import import_module
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary, ref

CORES = ("httpcore", "httpcore2")


def share_clients_between_loops() -> None:
    """Patches httpcore, and its successor if it is installed; to be called before user code is imported."""
    for name in CORES:
        try:
            _patch(import_module(name))
        except ImportError:
            continue


def _patch(core: ModuleType) -> None:
    pool_class = core.AsyncConnectionPool
    original = pool_class.handle_async_request
    if getattr(original, "per_loop", False):
        return

    async def handle_async_request(self: Any, request: Any) -> Any:
        return await original(_twin(self), request)

    handle_async_request.per_loop = True  # type: ignore[attr-defined]  # marks the patch
    pool_class.handle_async_request = handle_async_request


def _twin(pool: Any) -> Any:
    """The pool itself on the loop that used it first, else its twin for the running loop."""
    loop = asyncio.get_running_loop()
    state = vars(pool)
    # Weak, here and in the twins: a twin that held its loop would keep both in the dictionary for ever.
    home = state.setdefault("_threadmill_home", ref(loop))
    if home() is loop:
        return pool
    twins: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = state.setdefault(
        "_threadmill_twins", WeakKeyDictionary()
    )
    if loop not in twins:
        twin = copy.copy(pool)
        twin._connections = []
        twin._requests = []
        twin._optional_thread_lock = type(pool._optional_thread_lock)()
        vars(twin).update(_threadmill_home=ref(loop), _threadmill_twins=WeakKeyDictionary())
        twins[loop] = twin
    return twins[loop]
