"""Whether runs are still under way: one query for all watchers whose streams are silent, instead of one for each."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from threadmill_chassis.errors import Unavailable

# Questions that come within this time share a query.
GATHER_SECONDS = 0.5
AT_ONCE = 1000


class ActiveRuns:
    """Collects questions and answers them together. `ask(run_ids)` gives those of the runs that have yet to end."""

    def __init__(self, ask: Callable[[Sequence[str]], Awaitable[set[str]]]) -> None:
        self._ask = ask
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._asked = asyncio.Event()

    async def is_active(self, run_id: str) -> bool:
        """True while the run is pending or running, and while nobody can say."""
        answer = self._waiting.get(run_id)
        if answer is None:
            answer = self._waiting[run_id] = asyncio.get_running_loop().create_future()
            self._asked.set()
        return await asyncio.shield(answer)

    async def run(self) -> None:
        """Answers for ever."""
        while True:
            await self._asked.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._asked.clear()
            waiting, self._waiting = self._waiting, {}
            try:
                await self._answer(waiting)
            finally:  # nobody is left without an answer, whatever happens to this task
                for answer in waiting.values():
                    if not answer.done():
                        answer.set_result(True)

    async def _answer(self, waiting: dict[str, asyncio.Future[bool]]) -> None:
        run_ids = list(waiting)
        for start in range(0, len(run_ids), AT_ONCE):
            page = run_ids[start : start + AT_ONCE]
            try:
                active = await self._ask(page)
            except Unavailable:  # they are told that their runs go on, and ask again
                return
            for run_id in page:
                waiting[run_id].set_result(run_id in active)
