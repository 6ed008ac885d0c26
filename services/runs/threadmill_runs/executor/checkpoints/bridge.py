"""From any thread or event loop to the control loop, where the gRPC channel lives."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ControlLoopBridge:
    """Runs coroutines on the control loop for callers elsewhere.

    User code has its own loops and threads, while a gRPC channel belongs to the loop that made it.
    """

    def __init__(self, control_loop: asyncio.AbstractEventLoop) -> None:
        self.control_loop = control_loop

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Awaits `make()` on the control loop, from whatever loop this is called on."""
        if asyncio.get_running_loop() is self.control_loop:
            return await make()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(make(), self.control_loop))

    def run_blocking(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Blocks the calling thread until `make()` has run on the control loop.

        Raises RuntimeError on the control loop itself, which would wait for itself for ever.
        """
        self.refuse_control_loop()
        return asyncio.run_coroutine_threadsafe(make(), self.control_loop).result()

    def refuse_control_loop(self) -> None:
        """Raises RuntimeError if the calling thread runs the control loop."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return
        if running is self.control_loop:
            raise RuntimeError("a blocking checkpointer method was called on the control loop; use its async twin")
