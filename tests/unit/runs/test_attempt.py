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
from threadmill_runs.executor.running.reporter import ReportRefused

Outcome = executors_pb2.Outcome


class ScriptedExecution:
    """Stands for the graph: `body` is what it does on its user loop."""

    def __init__(self, body, timeout_seconds=60):
        self.assignment = executors_pb2.AttachResponse.Assignment(
            fence={"run_id": "run-1", "token": 1}, graph_id="graph-1", timeout_seconds=timeout_seconds
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
        self.refused = asyncio.Event()
        self.error_json = None
        self.fenced = asyncio.Event()
        self._finished = asyncio.Event()

    def finish(self, outcome):
        self.outcome = outcome
        self._finished.set()

    async def run(self):
        events = (self.fenced, self.refused, self._finished)
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        if self.fenced.is_set():
            raise LeaseLost("taken over")
        if self.refused.is_set():
            raise ReportRefused("too large")

    async def report_error(self, error_json):
        self.error_json = error_json


@pytest.fixture
async def loops(monkeypatch):
    monkeypatch.setattr(module, "STOP_GRACE_SECONDS", 0.1)
    made = UserLoops()
    yield made
    made.close()


async def ended(loops, body, act=None, timeout_seconds=60):
    """Runs an attempt, acts once its graph has begun, and answers the outcome that it reported."""
    return (await reported(loops, body, act, timeout_seconds))[0].outcome


async def reported(loops, body, act=None, timeout_seconds=60):
    """The same; answers the report, and the events that were sent."""
    execution, report = ScriptedExecution(body, timeout_seconds), KeptReport()
    attempt = Attempt(execution, report, loops, None, lambda: None)
    task = asyncio.create_task(attempt.run())
    if act is not None:
        await asyncio.to_thread(execution.began.wait, 5)
        act(attempt, report)
    await asyncio.wait_for(task, 5)
    events = [(event.name, orjson.loads(event.data_json)) for event in execution.outbox.take()]
    return report, events


async def endless():
    await asyncio.sleep(60)


async def test_an_end_by_itself(loops):
    async def body():
        return Outcome(result=Outcome.RESULT_SUCCESS, values_json=b"{}")

    assert (await ended(loops, body)).result == Outcome.RESULT_SUCCESS


async def test_a_defect_of_ours_ends_the_run_too(loops):
    async def body():
        raise ZeroDivisionError("secret")

    report, events = await reported(loops, body)
    shown = {"error": "ZeroDivisionError", "message": "An internal error occurred"}
    assert report.outcome.result == Outcome.RESULT_ERROR
    assert orjson.loads(report.outcome.error_json) == shown
    assert events == [("error", shown)]


async def test_a_graph_that_cancels_itself_fails(loops):
    async def body():
        raise asyncio.CancelledError

    report, events = await reported(loops, body)
    shown = {"error": "RuntimeError", "message": "the graph cancelled itself"}
    assert report.outcome.result == Outcome.RESULT_ERROR
    assert orjson.loads(report.outcome.error_json) == shown
    assert events == [("error", shown)]


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


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(
    ("lighter", "graver", "result"),
    [
        (Stop.MOVE, Stop.RELEASE, Outcome.RESULT_RELEASED),
        (Stop.RELEASE, Stop.TIMEOUT, Outcome.RESULT_TIMEOUT),
        (Stop.RELEASE, Stop.CANCEL, Outcome.RESULT_CANCELLED),
        (Stop.TIMEOUT, Stop.CANCEL, Outcome.RESULT_CANCELLED),
        (Stop.CANCEL, Stop.LEASE_LOST, None),
    ],
)
async def test_the_gravest_reason_counts_in_any_order(loops, lighter, graver, result, order):
    def act(attempt, _):
        for place in order:
            attempt.stop((lighter, graver)[place])

    outcome = await ended(loops, endless, act)
    assert (outcome and outcome.result) == result


async def test_a_reason_that_comes_while_the_graph_stops_counts_too(loops):
    halting = threading.Event()
    attempts = []

    async def slow_to_stop():
        try:
            await asyncio.sleep(60)
        finally:
            halting.set()
            await asyncio.sleep(0.05)

    async def cancel_later():
        await asyncio.to_thread(halting.wait, 5)
        attempts[0].stop(Stop.CANCEL)

    def act(attempt, _):
        attempts.append(attempt)
        attempt.stop(Stop.RELEASE)

    later = asyncio.create_task(cancel_later())
    outcome = await ended(loops, slow_to_stop, act)
    await later
    assert outcome.result == Outcome.RESULT_CANCELLED


TIMED_OUT = {"error": "TimeoutError", "message": ""}


async def test_the_time_limit_ends_a_run_without_an_error_event(loops):
    report, events = await reported(loops, endless, timeout_seconds=0.05)
    assert (report.outcome.result, report.outcome.values_json) == (Outcome.RESULT_TIMEOUT, b'{"rest":1}')
    assert orjson.loads(report.outcome.error_json) == TIMED_OUT
    assert events == []


async def test_the_time_limit_holds_though_user_code_blocks_its_loop(loops, monkeypatch):
    """What rests in the thread is read on the same loop here, so that it is unknown: the run ends all the same."""
    monkeypatch.setattr(module, "REST_SECONDS", 0.1)
    release = threading.Event()

    async def block():
        release.wait(20)

    outcome = await ended(loops, block, timeout_seconds=0.05)
    release.set()
    assert outcome.result == Outcome.RESULT_TIMEOUT
    assert orjson.loads(outcome.error_json) == TIMED_OUT


class KeptSaver:
    """Stands for the saver: notes whether it was closed while the outbox still held up its writes."""

    def __init__(self, outbox):
        self.closed_first = []
        self._outbox = outbox

    def close(self):
        self.closed_first.append(not self._outbox.closed)

    async def settled(self):
        pass


async def test_a_lost_lease_drops_the_checkpoints_that_wait_for_their_events(loops):
    execution, report = ScriptedExecution(endless), KeptReport()
    saver = KeptSaver(execution.outbox)
    task = asyncio.create_task(Attempt(execution, report, loops, saver, lambda: None).run())
    await asyncio.to_thread(execution.began.wait, 5)
    report.fenced.set()
    await asyncio.wait_for(task, 5)
    assert saver.closed_first[0]


async def test_no_time_left_is_a_time_out_at_once(loops):
    assert (await ended(loops, endless, timeout_seconds=0)).result == Outcome.RESULT_TIMEOUT


@pytest.mark.parametrize("reason", [Stop.RELEASE, Stop.MOVE])
async def test_an_end_while_it_is_being_handed_back_counts(loops, reason, monkeypatch):
    monkeypatch.setattr(module, "STOP_GRACE_SECONDS", 2)

    async def ends_when_cancelled():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return Outcome(result=Outcome.RESULT_SUCCESS)

    outcome = await ended(loops, ends_when_cancelled, lambda attempt, _: attempt.stop(reason))
    # Who moves away from a blocked loop does not wait for it.
    assert outcome.result == (Outcome.RESULT_SUCCESS if reason is Stop.RELEASE else Outcome.RESULT_RELEASED)


async def test_a_report_that_is_refused_ends_the_run_in_an_error(loops):
    report, _ = await reported(loops, endless, lambda _, report: report.refused.set())
    assert report.outcome is None
    assert orjson.loads(report.error_json) == {"error": "ReportRefused", "message": "An internal error occurred"}


async def test_user_code_that_raises_what_is_no_exception_fails(loops):
    class Strange(BaseException):
        pass

    async def body():
        raise Strange

    assert (await ended(loops, body)).result == Outcome.RESULT_ERROR


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
