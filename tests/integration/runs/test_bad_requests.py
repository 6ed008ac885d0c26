"""What a request holds that no state of the system could make valid is refused as such, never as an internal error."""

import grpc
import pytest
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import assistants_pb2, executors_pb2, runs_pb2

BAD = "not-a-uuid"
REFS = [runs_pb2.RunRef(run_id=BAD), runs_pb2.RunRef(run_id=new_id(), thread_id=BAD)]


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (call.read() if hasattr(call, "read") else call)
    return refused.value.code()


@pytest.mark.parametrize("ref", REFS)
async def test_malformed_ids_of_runs(system, ref):
    calls = [
        system.runs.GetRun(runs_pb2.GetRunRequest(run=ref)),
        system.runs.DeleteRun(runs_pb2.DeleteRunRequest(run=ref)),
        system.runs.StreamRun(runs_pb2.StreamRunRequest(run=ref)),
        system.runs.StreamRun(runs_pb2.StreamRunRequest(run=ref, continue_after="0-0")),
        system.runs.WaitRun(runs_pb2.WaitRunRequest(run=ref)),
        system.runs.CancelRuns(runs_pb2.CancelRunsRequest(run_ids=[ref.run_id], thread_id=ref.thread_id)),
    ]
    assert {await refusal(call) for call in calls} == {grpc.StatusCode.INVALID_ARGUMENT}


async def test_malformed_ids_of_threads(system):
    calls = [
        system.runs.ListRuns(runs_pb2.ListRunsRequest(thread_id=BAD)),
        system.runs.DeleteThreadRuns(runs_pb2.DeleteThreadRunsRequest(thread_id=BAD)),
        system.runs.PublishStateUpdate(runs_pb2.PublishStateUpdateRequest(thread_id=BAD, state_json=b"{}")),
        system.runs.StreamThread(runs_pb2.StreamThreadRequest(thread_id=BAD)),
        system.runs.StreamThread(runs_pb2.StreamThreadRequest()),
    ]
    assert {await refusal(call) for call in calls} == {grpc.StatusCode.INVALID_ARGUMENT}


@pytest.mark.parametrize(
    "fields",
    [
        {"run_id": BAD},
        {"thread_id": BAD},
        {"after_seconds": float("nan")},
        {"after_seconds": 1e300},
        {"config_json": b"[1]"},
        {"context_json": b"nonsense"},
        {"metadata_json": b'"text"'},
        {"checkpoint_json": b"1"},
    ],
)
@pytest.mark.parametrize("how", ["CreateRun", "StreamRun", "WaitRun"])
async def test_creates(system, how, fields):
    request = system.request(**fields)
    if how == "CreateRun":
        call = system.runs.CreateRun(request)
    elif how == "StreamRun":
        call = system.runs.StreamRun(runs_pb2.StreamRunRequest(create=request))
    else:
        call = system.runs.WaitRun(runs_pb2.WaitRunRequest(create=request))
    assert await refusal(call) is grpc.StatusCode.INVALID_ARGUMENT
    assert await system.threads_sql.fetchval("SELECT count(*) FROM threads.thread") == 0


@pytest.mark.parametrize("fields", [{"limit": -1}, {"limit": 10_000}, {"offset": -1}, {"metadata_json": b"[]"}])
async def test_pages(system, fields):
    calls = [system.runs.ListRuns(runs_pb2.ListRunsRequest(**fields))]
    if "metadata_json" not in fields:
        calls.append(system.assistants.SearchAssistants(assistants_pb2.SearchAssistantsRequest(**fields)))
    assert {await refusal(call) for call in calls} == {grpc.StatusCode.INVALID_ARGUMENT}


@pytest.mark.parametrize("method", ["Attach", "Report"])
async def test_an_executor_that_hangs_up_without_a_word_is_no_error(system, method):
    call = getattr(system.executors, method)()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    "requests",
    [
        [executors_pb2.ReportRequest(batch=executors_pb2.ReportRequest.Batch())],
        [
            executors_pb2.ReportRequest(
                header=executors_pb2.ReportRequest.Header(fence={"run_id": new_id(), "token": 1}, thread_id=new_id())
            ),
            executors_pb2.ReportRequest(batch=executors_pb2.ReportRequest.Batch()),
        ],
    ],
)
async def test_reports_that_say_nothing(system, requests):
    call = system.executors.Report()
    for request in requests:
        await call.write(request)
    assert await refusal(call) is grpc.StatusCode.INVALID_ARGUMENT
