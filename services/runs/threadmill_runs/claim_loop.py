"""The loop of a duty that claims rows from a table and works on each: with a slow poll, wake-ups and a precise timer.

Used by crons and webhooks. The table is the truth; what is lost here (a wake-up, the process) is found by the next
poll of any replica, since every claim is a lease.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog
from threadmill_chassis.errors import Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")
# Clocks differ a little: never so short a sleep that the loop spins.
SHORTEST_SLEEP_SECONDS = 0.002


class ClaimLoop(Generic[T]):
    """Claims up to `capacity` rows at a time.

    `claim(limit)` leases rows that are due; `work(row)` handles one and must not raise what it expects;
    `seconds_to_next()` says when the next row will be due, None when none is known.
    """

    def __init__(
        self,
        name: str,
        claim: Callable[[int], Awaitable[list[T]]],
        work: Callable[[T], Awaitable[None]],
        seconds_to_next: Callable[[], Awaitable[float | None]],
        capacity: int,
        poll_seconds: float,
    ) -> None:
        self._name = name
        self._claim = claim
        self._work = work
        self._seconds_to_next = seconds_to_next
        self._poll_seconds = poll_seconds
        self._free = capacity
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Something may be due, or is due earlier than was known."""
        self._awake.set()

    async def run(self) -> None:
        """Works for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._awake.clear()
                seconds = await self._round(group)
                try:
                    async with asyncio.timeout(seconds):
                        await self._awake.wait()
                except TimeoutError:
                    continue

    async def _round(self, group: asyncio.TaskGroup) -> float:
        """Starts work on what is due; answers how long to sleep at most."""
        try:
            while self._free:
                wanted = self._free
                claimed = await self._claim(wanted)
                self._free -= len(claimed)
                for each in claimed:
                    group.create_task(self._guarded(each), name=self._name)
                if len(claimed) < wanted:
                    break
            seconds = await self._seconds_to_next()
        except Unavailable as error:
            log.warning("round_postponed", duty=self._name, error=str(error))
            return self._poll_seconds
        if seconds is None or seconds <= 0:  # what is due already is in the hands of another replica
            return self._poll_seconds
        return max(SHORTEST_SLEEP_SECONDS, min(seconds, self._poll_seconds))

    async def _guarded(self, claimed: T) -> None:
        try:
            await self._work(claimed)
        except Unavailable as error:  # the lease ends, and somebody tries again
            log.warning("work_postponed", duty=self._name, error=str(error))
        except Exception:  # one poisonous row must not stop the duty, let alone the process
            log.exception("work_failed", duty=self._name)
        finally:
            if not self._free:
                self._awake.set()
            self._free += 1
