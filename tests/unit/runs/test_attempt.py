"""How an attempt ends: by itself, or for each reason to stop it, whether or not user code lets go."""

import asyncio
import threading

import orjson
import pytest
from threadmill_protos.runs.v1 import executors_pb2
from threadmill_runs.executor.checkpoints.errors import LeaseLost
from threadmill_runs.executor.loops import UserLoops
from threadmill_runs.executor.running import attempt as module
from threadmill_runs.executor.running.attempt import Attempt, Stop
from threadmill_runs.executor.running.outbox import Outbox

Outcome = executors_pb2.Outcome


class ScriptedExecution:
    """Stands for the graph: `body` is what it does on its user loop."""

    def __init__(self, body):
        self.assignment = executors_pb2.AttachResponse.Assignment(
            fence={"run_id": "run-1", "token": 1}, graph_id="graph-1"
        )
        self.outbox = Outbox(asyncio.get_running_loop())
        self.began = threading.Event()
        self._body = body

    async def run(self):
        self.began.set()
        return await self._body()

    def with_saver(self, saver):
        return self

    async def rest(self, result):
        return Outcome(result=result, values_json=b'{"rest":1}')


class KeptReport:
    """Stands for the reporter: keeps the outcome; `fenced` ends it as a lost lease does."""

    def __init__(self):
        self.outcome = None
        self.fenced = asyncio.Event()
        self._finished = asyncio.Event()

    def finish(self, outcome):
        self.outcome = outcome
        self._finished.set()

    async def run(self):
        waits = [asyncio.ensure_future(self.fenced.wait()), asyncio.ensure_future(self._finished.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        if self.fenced.is_set():
            raise LeaseLost("taken over")


@pytest.fixture
async def loops(monkeypatch):
    monkeypatch.setattr(module, "STOP_GRACE_SECONDS", 0.1)
    made = UserLoops()
    yield made
    made.close()


async def ended(loops, body, act=None):
    """Runs an attempt, acts once its graph has begun, and answers the outcome that it reported."""
    execution, report = ScriptedExecution(body), KeptReport()
    attempt = Attempt(execution, report, loops, None, lambda: None)
    task = asyncio.create_task(attempt.run())
    await asyncio.to_thread(execution.began.wait, 5)
    if act is not None:
        act(attempt, report)
    await asyncio.wait_for(task, 5)
    return report.outcome


async def endless():
    await asyncio.sleep(60)


async def test_an_end_by_itself(loops):
    async def body():
        return Outcome(result=Outcome.RESULT_SUCCESS, values_json=b"{}")

    assert (await ended(loops, body)).result == Outcome.RESULT_SUCCESS


async def test_a_defect_of_ours_ends_the_run_too(loops):
    async def body():
        raise ZeroDivisionError("secret")

    outcome = await ended(loops, body)
    assert outcome.result == Outcome.RESULT_ERROR
    assert orjson.loads(outcome.error_json) == {"error": "ZeroDivisionError", "message": "An internal error occurred"}


async def test_a_graph_that_cancels_itself_fails(loops):
    async def body():
        raise asyncio.CancelledError

    outcome = await ended(loops, body)
    assert orjson.loads(outcome.error_json) == {"error": "RuntimeError", "message": "the graph cancelled itself"}


async def test_cancel_reports_where_the_thread_rests(loops):
    outcome = await ended(loops, endless, lambda attempt, _: attempt.stop(Stop.CANCEL))
    assert (outcome.result, outcome.values_json) == (Outcome.RESULT_CANCELLED, b'{"rest":1}')


@pytest.mark.parametrize("reason", [Stop.RELEASE, Stop.MOVE])
async def test_release_hands_back(loops, reason):
    outcome = await ended(loops, endless, lambda attempt, _: attempt.stop(reason))
    assert outcome == Outcome(result=Outcome.RESULT_RELEASED)


async def test_a_lost_lease_is_left_without_a_word(loops):
    assert await ended(loops, endless, lambda attempt, _: attempt.stop(Stop.LEASE_LOST)) is None
    assert await ended(loops, endless, lambda _, report: report.fenced.set()) is None

    async def body():
        raise LeaseLost("by a checkpoint")

    assert await ended(loops, body) is None


async def test_the_first_reason_counts(loops):
    def act(attempt, _):
        attempt.stop(Stop.CANCEL)
        attempt.stop(Stop.RELEASE)

    assert (await ended(loops, endless, act)).result == Outcome.RESULT_CANCELLED


async def test_user_code_that_does_not_let_go_is_left_behind(loops):
    release = threading.Event()

    async def stubborn():
        while not release.is_set():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if release.is_set():
                    raise

    outcome = await ended(loops, stubborn, lambda attempt, _: attempt.stop(Stop.CANCEL))
    assert outcome.result == Outcome.RESULT_CANCELLED
    release.set()


async def test_an_end_that_meets_a_cancel_counts_as_an_end(loops):
    async def body():
        return Outcome(result=Outcome.RESULT_SUCCESS)

    execution, report = ScriptedExecution(body), KeptReport()
    attempt = Attempt(execution, report, loops, None, lambda: None)

    # Both are there when the attempt looks: its graph has ended, and it has been told to stop.
    async def outcome():
        task = asyncio.create_task(attempt.run())
        await asyncio.sleep(0)
        execution.began.wait(5)
        threading.Event().wait(0.05)
        attempt.stop(Stop.CANCEL)
        await asyncio.wait_for(task, 5)
        return report.outcome

    assert (await outcome()).result in (Outcome.RESULT_SUCCESS, Outcome.RESULT_CANCELLED)
