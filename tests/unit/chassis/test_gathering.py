"""Questions that are asked one at a time and answered many at once."""

import asyncio

import pytest
from threadmill_chassis.gathering import Gathered


class Work:
    """Answers each number with its double, batch by batch as the gate lets; -1 is a fault, -2 a failure."""

    def __init__(self):
        self.batches = []
        self.gate = asyncio.Semaphore(0)

    async def __call__(self, numbers):
        self.batches.append(list(numbers))
        await self.gate.acquire()
        if -2 in numbers:
            raise OSError("down")
        if -1 in numbers:
            raise ValueError("no such number")
        return [2 * number for number in numbers]

    def open(self, times=100):
        for _ in range(times):
            self.gate.release()


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def gathered(work):
    return Gathered(work, ValueError, most=3, at_once=2)


async def ask(gathered, *numbers):
    tasks = [asyncio.create_task(gathered.ask(number)) for number in numbers]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_who_asks_alone_is_answered_alone(gathered, work):
    work.open()
    assert await gathered.ask(1) == 2
    assert await gathered.ask(2) == 4
    assert work.batches == [[1], [2]]


async def test_those_who_ask_meanwhile_go_together(gathered, work):
    early = await ask(gathered, 1) + await ask(gathered, 2)
    late = await ask(gathered, 3, 4, 5, 6, 7)
    assert work.batches == [[1], [2]]
    work.open()
    assert await asyncio.gather(*early, *late) == [2, 4, 6, 8, 10, 12, 14]
    assert work.batches[2:] == [[3, 4, 5], [6, 7]]


async def test_a_fault_fails_nobody_else(gathered, work):
    early = await ask(gathered, 0) + await ask(gathered, 0)
    late = await ask(gathered, 1, -1, 3)
    work.open()
    answers = await asyncio.gather(*early, *late, return_exceptions=True)
    assert [answers[2], answers[4]] == [2, 6]
    assert isinstance(answers[3], ValueError)


async def test_a_failure_is_everybodys_and_nothing_is_tried_twice(gathered, work):
    early = await ask(gathered, 0) + await ask(gathered, 0)
    late = await ask(gathered, 1, -2)
    work.open()
    answers = await asyncio.gather(*early, *late, return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, int, OSError, OSError]
    assert work.batches[2:] == [[1, -2]]
    assert await gathered.ask(5) == 10


async def test_who_has_gone_is_not_asked_for(gathered, work):
    early = await ask(gathered, 0) + await ask(gathered, 0)
    gone, stays = await ask(gathered, 1, 2)
    gone.cancel()
    work.open()
    assert await asyncio.gather(*early, stays) == [0, 0, 4]
    assert work.batches[2:] == [[2]]


async def test_a_caller_who_goes_during_the_work_takes_nobody_along(gathered, work):
    gone = (await ask(gathered, 1))[0]
    gone.cancel()
    work.open()
    assert await gathered.ask(3) == 6
