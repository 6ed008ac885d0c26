"""Work that is asked for one at a time and done for many at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Question, Answer]):
    question: Question
    answer: "asyncio.Future[Answer]"


class Gathered(Generic[Question, Answer]):
    """Those that ask while enough batches are under way go together in the next one; who asks alone does not wait.

    `work` answers a batch of up to `most`, in its order. If it raises `fault`, which says that nothing was done because
    of one question, each is asked again alone, so that it fails nobody else.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]],
        fault: type[Exception],
        most: int,
        at_once: int,
    ) -> None:
        self._work = work
        self._fault = fault
        self._most = most
        self._free = at_once
        self._waiting: list[_Asked[Question, Answer]] = []
        # The loop holds tasks weakly.
        self._batches: set[asyncio.Task[None]] = set()

    async def ask(self, question: Question) -> Answer:
        """The answer. Raises what `work` raises for this question alone."""
        asked: _Asked[Question, Answer] = _Asked(question, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._free:
            self._start()
        return await asked.answer

    def _start(self) -> None:
        self._free -= 1
        batch = asyncio.create_task(self._run())
        self._batches.add(batch)
        batch.add_done_callback(self._ended)

    def _ended(self, batch: "asyncio.Task[None]") -> None:
        self._batches.discard(batch)
        self._free += 1
        if self._waiting:
            self._start()

    async def _run(self) -> None:
        batch = [asked for asked in self._waiting[: self._most] if not asked.answer.done()]
        del self._waiting[: self._most]
        if not batch:
            return
        await self._answer(batch)

    async def _answer(self, batch: Sequence[_Asked[Question, Answer]]) -> None:
        try:
            answers = await self._work([asked.question for asked in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, those who asked are told
            if isinstance(error, self._fault) and len(batch) > 1:
                await asyncio.gather(*(self._answer([asked]) for asked in batch))
                return
            for asked in batch:
                if not asked.answer.done():  # its caller may have gone
                    asked.answer.set_exception(error)
        else:
            for asked, answer in zip(batch, answers, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(answer)
