"""Loops of user code: what blocks one of them, or leaves it by force, costs nobody else."""

import asyncio
import gc
import sys
import threading
import time
import weakref

import pytest
from eventually import until
from langgraph.graph import START, StateGraph
from structlog.testing import capture_logs
from threadmill_runs.executor import loops as module
from threadmill_runs.executor.loops import UserLoops, finished


@pytest.fixture
async def loops(monkeypatch):
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(module, "STALLED_AFTER_SECONDS", 0.2)
    made = UserLoops()
    watch = asyncio.create_task(made.watch())
    yield made
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    made.close()


@pytest.fixture
def release():
    event = threading.Event()
    yield event
    event.set()


async def thread_name():
    return threading.current_thread().name


async def block(event):
    event.wait(20)


async def stalls(work, expected=True):
    """Waits until the loop of the work is known to be blocked, or to answer again."""

    async def seen():
        return work.loop.stalled is expected

    await until(seen, 5)


async def test_user_code_runs_apart_from_the_control_loop_and_shares_one(loops):
    names = {await loops.run(thread_name()) for _ in range(3)}
    assert len(names) == 1
    assert threading.current_thread().name not in names


async def test_results_and_errors_come_back(loops):
    async def failing():
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        await loops.run(failing())
    assert await loops.run(asyncio.sleep(0, "value")) == "value"


async def test_cancel(loops):
    began = threading.Event()

    async def waiting():
        began.set()
        await asyncio.sleep(60)

    work = loops.start(waiting())
    await asyncio.to_thread(began.wait, 5)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(finished(work), 5)


async def test_giving_up_does_not_end_the_work(loops, release):
    async def patient():
        return await asyncio.to_thread(release.wait, 10)

    work = loops.start(patient())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(finished(work), 0.05)
    release.set()
    assert await asyncio.wait_for(finished(work), 5)


async def test_a_blocked_loop_stops_neither_control_nor_new_work(loops, release):
    moved = asyncio.Event()

    async def neighbour():
        await asyncio.sleep(60)

    beside = loops.start(neighbour(), graph_id="good", on_stalled=moved.set)
    blocking = loops.start(block(release), graph_id="bad")
    await asyncio.wait_for(moved.wait(), 5)
    before = time.monotonic()
    name = await asyncio.wait_for(loops.run(thread_name()), 5)
    assert name != blocking.loop.name
    assert time.monotonic() - before < 2
    release.set()
    await asyncio.wait_for(finished(blocking), 5)
    beside.cancel()
    await asyncio.gather(finished(beside), return_exceptions=True)


async def test_the_culprit_is_not_told_to_move(loops, release):
    told = []
    blocking = loops.start(block(release), graph_id="bad", on_stalled=lambda: told.append("culprit"))

    await stalls(blocking)
    assert "block" in blocking.loop.where()
    release.set()
    await asyncio.wait_for(finished(blocking), 5)
    assert not told


async def test_who_blocks_repeatedly_is_kept_apart(loops):
    for _ in range(module.OFFENCES_UNTIL_ISOLATED):
        event = threading.Event()
        work = loops.start(block(event), graph_id="bad")
        await stalls(work)
        event.set()
        await asyncio.wait_for(finished(work), 5)
        await stalls(work, False)
    main = await loops.run(thread_name())
    apart = loops.start(thread_name(), graph_id="bad")
    assert await asyncio.wait_for(finished(apart), 5) != main


async def test_user_code_that_exits_takes_nobody_with_it(loops):
    """asyncio lets SystemExit out of run_forever; a node that calls sys.exit must not end the loop of all."""

    async def leave():
        sys.exit(3)

    async def inner_leave():
        await asyncio.gather(asyncio.create_task(leave()))

    for leaving in (leave(), inner_leave()):
        with pytest.raises(RuntimeError, match="SystemExit"):
            await asyncio.wait_for(loops.run(leaving), 5)
    assert await asyncio.wait_for(loops.run(asyncio.sleep(0, "alive")), 5) == "alive"


async def test_the_warning_names_graph_and_node(loops, release):
    async def heavy(state: dict) -> dict:
        release.wait(20)
        return {}

    graph = StateGraph(dict).add_node("heavy", heavy).add_edge(START, "heavy").compile()
    with capture_logs() as logs:
        work = loops.start(graph.ainvoke({"a": 1}), graph_id="bad", label="graph bad, run 7")
        await stalls(work)
        release.set()
        await asyncio.wait_for(finished(work), 5)
    (warning,) = [entry for entry in logs if entry["event"] == "user_code_blocks_its_loop"]
    assert (warning["graph_id"], warning["node"], warning["work"]) == ("bad", "heavy", "graph bad, run 7")
    assert "in heavy" in warning["where"]


async def test_synchronous_code_that_was_left_behind_keeps_nobody_waiting(loops, release):
    """As after many cancelled runs whose synchronous nodes do not return."""
    began = threading.Semaphore(0)

    def stuck() -> None:
        began.release()
        release.wait(30)

    async def leave() -> None:
        await asyncio.to_thread(stuck)

    with capture_logs() as logs:
        works = [loops.start(leave()) for _ in range(150)]
        for _ in works:
            await asyncio.to_thread(began.acquire)
        for work in works:
            work.cancel()
        assert await asyncio.wait_for(loops.run(asyncio.to_thread(lambda: "ran")), 5) == "ran"
    assert [entry["busy"] for entry in logs if entry["event"] == "many_synchronous_calls"] == [128]
    release.set()
    await asyncio.gather(*map(finished, works), return_exceptions=True)


async def test_what_has_ended_leaves_nothing_behind(loops):
    """Its result is as large as a state, and a process sees many thousands."""

    class Result:
        pass

    async def child() -> None:
        await asyncio.sleep(0)

    async def make() -> Result:
        await asyncio.create_task(child())
        return Result()

    results = [weakref.ref(await loops.run(make())) for _ in range(10)]
    await loops.run(asyncio.sleep(0))  # the loop has let go of the last one's task
    gc.collect()
    assert [result() for result in results] == [None] * 10
