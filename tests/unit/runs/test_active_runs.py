"""Many watchers, one question."""

import asyncio

import pytest
from threadmill_chassis.errors import Unavailable
from threadmill_runs.events import active_runs as module
from threadmill_runs.events.active_runs import ActiveRuns


class Database:
    """Notes what it is asked; `active` is what it knows, `down` whether it answers."""

    def __init__(self):
        self.asked = []
        self.active = set()
        self.down = False

    async def __call__(self, run_ids):
        self.asked.append(sorted(run_ids))
        if self.down:
            raise Unavailable("down")
        return self.active & set(run_ids)


@pytest.fixture
def database():
    return Database()


@pytest.fixture
async def runs(database, monkeypatch):
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.01)
    active_runs = ActiveRuns(database)
    task = asyncio.create_task(active_runs.run())
    yield active_runs
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_questions_share_a_query(runs, database):
    database.active = {"b"}
    answers = await asyncio.gather(*(runs.is_active(run_id) for run_id in ("a", "b", "a", "c")))
    assert answers == [False, True, False, False]
    assert database.asked == [["a", "b", "c"]]
    assert await runs.is_active("a") is False
    assert len(database.asked) == 2, "an answer is not kept"


async def test_large_rounds_are_cut(runs, database, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 2)
    await asyncio.gather(*(runs.is_active(run_id) for run_id in "abcde"))
    assert [len(asked) for asked in database.asked] == [2, 2, 1]


async def test_a_run_counts_as_active_while_nobody_can_say(runs, database):
    database.down = True
    assert await runs.is_active("a") is True
    database.down = False
    assert await runs.is_active("a") is False


async def test_an_asker_that_leaves_takes_nobody_with_it(runs):
    leaver, stayer = (asyncio.create_task(runs.is_active("a")) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    assert await stayer is False
