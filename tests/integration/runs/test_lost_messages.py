"""Reports of which the network lost a part: noticed by their numbers, and healed by the next call."""

import grpc
import orjson
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2

Outcome = executors_pb2.Outcome
Request = executors_pb2.ReportRequest


@pytest.fixture
async def assigned(system):
    executor = await system.executor().attach()
    call = system.runs.StreamRun(runs_pb2.StreamRunRequest(create=system.request(await system.thread())))
    await call.read()
    return executor, await executor.assignment(), call


def header(assignment, next_seq=0):
    return Request(header=Request.Header(fence=assignment.fence, thread_id=assignment.thread_id, next_seq=next_seq))


def batch(*seqs):
    events = [executors_pb2.ReportedEvent(seq=seq, name="values", data_json=orjson.dumps(seq)) for seq in seqs]
    return Request(batch=Request.Batch(events=events))


def outcome(last_seq=0):
    return Request(outcome=Outcome(result=Outcome.RESULT_SUCCESS, values_json=b"{}", last_seq=last_seq))


async def report(executor, *requests):
    """The last acknowledgement of one call."""
    return [answer async for answer in executor.stub.Report(iter(requests))][-1]


@pytest.mark.parametrize(
    "lossy",
    [
        lambda assignment: [header(assignment), batch(1), batch(3), outcome()],
        lambda assignment: [header(assignment, 1), batch(2), outcome()],
        lambda assignment: [header(assignment, 1), batch(1), outcome(2)],
        lambda assignment: [header(assignment, 1), outcome(2)],
    ],
    ids=["between", "first", "last", "all"],
)
async def test_a_gap_is_refused_and_filled_by_the_next_call(system, assigned, lossy):
    executor, assignment, call = assigned
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await report(executor, *lossy(assignment))
    assert reason_of(refused.value) == "EVENTS_MISSING"
    assert await system.run_state(assignment.fence.run_id) == "running"
    answer = await report(executor, header(assignment, 1), batch(1, 2), batch(3), outcome(3))
    assert (answer.acked_seq, answer.outcome_acked) == (3, True)
    assert [data for name, data in await system.collect(call) if name == "values"] == [1, 2, 3]


async def test_events_that_were_given_up_are_no_gap(system, assigned):
    """The executor says where it goes on: what it sent before was refused for good."""
    executor, assignment, call = assigned
    await report(executor, header(assignment, 1), batch(1))
    assert (await report(executor, header(assignment, 9), batch(9), outcome(9))).outcome_acked
    assert [data for name, data in await system.collect(call) if name == "values"] == [1, 9]


async def test_an_outcome_alone_in_its_call_closes_the_stream_behind_the_events(system, assigned):
    executor, assignment, call = assigned
    await report(executor, header(assignment, 1), batch(1, 2))
    assert (await report(executor, header(assignment, 3), outcome(2))).outcome_acked
    assert [data for name, data in await system.collect(call) if name == "values"] == [1, 2]
