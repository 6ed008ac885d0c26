"""Runs the scripts on both servers: several at a time, because the reference keeps every run waiting for a second."""

import asyncio
from collections.abc import Iterable

import httpx

from .recording import Recorder
from .scripts import ALONE, SCRIPTS

AT_ONCE = 6
Pair = tuple[Recorder, Recorder]


class Recordings:
    """What both servers answered to each of the named scripts. `async with` ends what is still under way."""

    def __init__(self, names: Iterable[str], reference: httpx.AsyncClient, threadmill: httpx.AsyncClient) -> None:
        self._names = [name for name in names if name not in ALONE]
        self._clients = (reference, threadmill)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[Pair]] = {}

    async def __aenter__(self) -> "Recordings":
        self._tasks = {name: asyncio.create_task(self._beside_others(name)) for name in self._names}
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def of(self, name: str) -> Pair:
        """Both recordings of a script. One that runs alone waits for all others first."""
        if name in self._tasks:
            return await self._tasks[name]
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        return await self._record(name)

    async def _beside_others(self, name: str) -> Pair:
        async with self._places:
            return await self._record(name)

    async def _record(self, name: str) -> Pair:
        reference, threadmill = (Recorder(client) for client in self._clients)
        async with asyncio.TaskGroup() as both:
            for recorder in (reference, threadmill):
                both.create_task(_run(name, recorder))
        return reference, threadmill


async def _run(name: str, recorder: Recorder) -> None:
    await SCRIPTS[name](recorder)
