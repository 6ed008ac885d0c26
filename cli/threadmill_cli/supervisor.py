"""Keeps named processes running: starts them, waits until they are ready, restarts those that die, stops all.

A process that dies is restarted after a growing pause. One that ends with code 1 before it was ready has said that it
cannot run as things are; when that repeats, the supervisor gives up with the process's own sentence.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from threadmill_cli.output import Output
from threadmill_cli.processes import Process, ProcessSpec
from threadmill_cli.refusal import CannotRun

START_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 10.0
FIRST_ATTEMPTS = 2
REFUSALS_MAX = 3
STOP_SECONDS = 2.5

MakeSpec = Callable[[], ProcessSpec]
Ready = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Member:
    """A supervised place, filled by one process after another."""

    name: str
    make_spec: MakeSpec
    ready: Ready
    keep: bool = True  # restart when it dies
    survives_refusal: bool = False  # wait for `start` (a change of code) instead of giving up everything
    process: Process | None = None
    became_ready: bool = False  # the present process, at some time
    serving: asyncio.Event = field(default_factory=asyncio.Event)
    watch: asyncio.Task[None] | None = None


class Supervisor:
    """Members by name, in the order in which they were added."""

    def __init__(self, output: Output, *, restart: bool = True) -> None:
        self.members: dict[str, Member] = {}
        self.failed: asyncio.Future[CannotRun] = asyncio.get_running_loop().create_future()
        self.ending = False  # from then on, nothing that ends is started again
        self._output = output
        self._restart = restart

    async def add(self, name: str, make_spec: MakeSpec, ready: Ready) -> None:
        """Starts a new member and waits until it is ready; CannotRun if it does not become so."""
        started = time.monotonic()
        self.members[name] = Member(name, make_spec, ready, keep=self._restart)
        await self.start(name)
        self._output.say(f"  {name:<9} ready ({time.monotonic() - started:.1f} s)")

    async def start(self, name: str) -> None:
        """Starts a member that does not run and waits until it is ready; CannotRun with its reason if it ends."""
        member = self.members[name]
        await self._release(member)
        if member.process and member.process.alive:
            raise RuntimeError(f"{name} runs already")
        for attempt in range(1, FIRST_ATTEMPTS + 1):
            if await self._launch(member):
                member.watch = asyncio.create_task(self._watch(member), name=f"watch {name}")
                return
            if attempt == FIRST_ATTEMPTS or (member.process and member.process.refusal is not None):
                raise CannotRun(_reason(member))

    async def stop(self, name: str, grace_seconds: float = STOP_SECONDS) -> None:
        """Stops a member, which then stays stopped until `start`."""
        member = self.members[name]
        await self._release(member)
        if member.process:
            await member.process.stop(grace_seconds)

    def send(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to the member's process; what follows is the business of its watch."""
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.members[name].serving.clear()  # at once, so that who waits next waits for the successor
        self.process(name).send(number)

    def process(self, name: str) -> Process:
        """The present process of a member; KeyError for an unknown name."""
        process = self.members[name].process
        if process is None:
            raise KeyError(f"{name} was never started")
        return process

    def force_all(self) -> None:
        """Ends every process at once."""
        for member in self.members.values():
            if member.process:
                member.process.force()

    async def _launch(self, member: Member) -> bool:
        """One attempt; answers whether the process became ready. CannotRun when it neither does nor ends."""
        member.serving.clear()
        member.became_ready = False
        process = Process(member.make_spec(), lambda lines: self._output.log(member.name, *lines))
        member.process = process
        await process.start()
        ended = asyncio.create_task(process.wait())
        ready = asyncio.ensure_future(member.ready())
        try:
            await asyncio.wait({ended, ready}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and not ready.done():
                await process.stop(STOP_SECONDS)
                raise CannotRun(f"{member.name} was not ready within {START_SECONDS:.0f} s: see its messages above")
            if ready.done() and not ended.done():
                ready.result()
                member.became_ready = True
                member.serving.set()
                return True
            return False
        finally:
            for task in (ended, ready):
                task.cancel()
            await asyncio.wait({ended, ready})

    async def _watch(self, member: Member) -> None:
        """Waits for the end of the member's process and, if it is kept, starts the next."""
        pause, refusals = FIRST_PAUSE_SECONDS, 0
        started = time.monotonic()
        while member.process:
            code = await member.process.wait()
            member.serving.clear()
            if self.ending:
                return
            if not member.keep:
                self._output.say(f"{member.name} ended ({_meaning(code)})", warning=True)
                return
            refusals = refusals + 1 if code == 1 and not member.became_ready else 0
            if member.process.refusal is not None or refusals >= REFUSALS_MAX:
                self._give_up(member)
                return
            if time.monotonic() - started > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._output.say(f"{member.name} ended ({_meaning(code)}); starting it again", warning=True)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            started = time.monotonic()
            try:
                if await self._launch(member):
                    self._output.say(f"{member.name} is ready again")
            except CannotRun as refusal:
                self._output.say(refusal.message, warning=True)

    def _give_up(self, member: Member) -> None:
        if member.survives_refusal:
            self._output.say(f"{_reason(member)}; waiting for a change", warning=True)
        elif not self.failed.done():
            self.failed.set_result(CannotRun(_reason(member)))

    async def _release(self, member: Member) -> None:
        if member.watch:
            member.watch.cancel()
            await asyncio.wait({member.watch})
            member.watch = None


async def together(*steps: Coroutine[Any, Any, None]) -> None:
    """Runs all at once; when one fails, ends the others and raises what it raised, bare."""
    tasks = [asyncio.create_task(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reason(member: Member) -> str:
    process = member.process
    if process and process.refusal:
        return f"{member.name} cannot run: {process.refusal}"
    last = f" ({process.last_line[:300]})" if process and process.last_line else ""
    return f"{member.name} does not start{last}: see its messages above"


def _meaning(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
