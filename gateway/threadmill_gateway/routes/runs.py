"""Runs that answer at once: create, list, read, cancel, delete."""

from typing import TypeVar

import grpc
from starlette.requests import Request
from starlette.responses import Response
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway import encode
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import answering, refuse
from threadmill_gateway.models import answers
from threadmill_gateway.models.runs import NewRun, RunBatch, RunColumn, RunCreate, RunsCancel, StatelessRunCreate
from threadmill_gateway.requests import INT32_MAX, path_id, query_count, query_list, read
from threadmill_gateway.routes.endpoint import Endpoint, Header, Query
from threadmill_gateway.routes.threads import load_thread
from threadmill_gateway.run_requests import create_request
from threadmill_gateway.webhooks import check_webhook

Body = TypeVar("Body", bound=NewRun)

STATES = {name: value for value, name in encode.RUN_STATES.items()}
COLUMNS = frozenset(RunColumn.__args__)  # type: ignore[attr-defined]  # what a Literal holds
CANCELLED_BY_STATUS = {
    "pending": [runs_pb2.RUN_STATE_PENDING],
    "running": [runs_pb2.RUN_STATE_RUNNING],
    "all": [runs_pb2.RUN_STATE_PENDING, runs_pb2.RUN_STATE_RUNNING],
}
# A failed create, whichever of the two is missing: clients match this text.
REFUSALS = {
    "ASSISTANT_NOT_FOUND": (404, "Thread or assistant not found."),
    "THREAD_NOT_FOUND": (404, "Thread or assistant not found."),
    "THREAD_BUSY": (
        409,
        "Thread is already running a task. Wait for it to finish or choose a different multitask strategy.",
    ),
}
# The longest page that the runs api gives.
LIST_PAGE = 1000
NO_RUNS = (404, "No runs found to cancel.")
NOT_CANCELLABLE = (404, "No matching runs to cancel. They have ended, or were not found.")


async def new_run(
    request: Request, gateway: Gateway, model: type[Body], thread_id: str | None
) -> tuple[Body, runs_pb2.CreateRunRequest]:
    """The validated body, and what the runs api is asked. Shared by create, wait and stream."""
    body = await read(request, model, gateway.settings.http_max_request_body_bytes)
    return body, await creation(body, request, gateway, thread_id)


async def creation(
    body: NewRun, request: Request, gateway: Gateway, thread_id: str | None
) -> runs_pb2.CreateRunRequest:
    """What the runs api is asked for a validated body; 422 for a webhook that must not be called."""
    if body.webhook is not None:
        await check_webhook(body.webhook, gateway.resolve, gateway.settings.webhook_policy)
    return create_request(body, thread_id, request.headers, gateway.settings.configurable_headers)


def thread_of_new_run(request: Request) -> str:
    """The thread id of a create's path, with the shorter text that creates have."""
    return path_id(request, "thread", detail="Invalid thread ID")


async def create_run(request: Request, gateway: Gateway) -> Response:
    """Queues a run on a thread."""
    _, question = await new_run(request, gateway, RunCreate, thread_of_new_run(request))
    run = await queue_run(gateway, question)
    return encode.document_response(
        encode.run(run), {"Content-Location": f"/threads/{run.thread_id}/runs/{run.run_id}"}
    )


async def create_stateless_run(request: Request, gateway: Gateway) -> Response:
    """Queues a run on a temporary thread."""
    _, question = await new_run(request, gateway, StatelessRunCreate, None)
    run = await queue_run(gateway, question)
    return encode.document_response(encode.run(run), {"Content-Location": f"/runs/{run.run_id}"})


async def create_batch(request: Request, gateway: Gateway) -> Response:
    """Queues several stateless runs, or none."""
    bodies = await read(request, RunBatch, gateway.settings.http_max_request_body_bytes)
    questions = [await creation(body, request, gateway, None) for body in bodies.root]
    with answering(**REFUSALS):
        created = await gateway.clients.ask(gateway.clients.runs.CreateRuns, runs_pb2.CreateRunsRequest(runs=questions))
    return encode.document_response([encode.run(run) for run in created.runs])


async def queue_run(gateway: Gateway, question: runs_pb2.CreateRunRequest) -> runs_pb2.Run:
    """The new run, with the contract's texts for what is missing."""
    with answering(**REFUSALS):
        return await gateway.clients.ask(gateway.clients.runs.CreateRun, question)


async def list_runs(request: Request, gateway: Gateway) -> Response:
    """Runs of a thread, newest first."""
    thread_id = path_id(request, "thread")
    select = query_list(request, "select", commas=False)
    if unknown := [name for name in select if name not in COLUMNS]:
        raise refuse(422, f"Invalid select: {', '.join(unknown)}")
    limit = query_count(request, "limit", 10)
    question = runs_pb2.ListRunsRequest(thread_id=thread_id, offset=query_count(request, "offset", 0))
    status = request.query_params.get("status")
    runs: list[runs_pb2.Run] = []
    if status is None or status in STATES:
        question.state = STATES[status] if status else runs_pb2.RUN_STATE_UNSPECIFIED
        runs = await first_runs(gateway, question, limit)
    if not runs:
        await load_thread(gateway, thread_id)  # tells an unknown thread from one without runs
    return encode.document_response([encode.selected(encode.run(run), select) for run in runs])


async def first_runs(gateway: Gateway, question: runs_pb2.ListRunsRequest, count: int) -> list[runs_pb2.Run]:
    """Up to `count` runs from the question's offset on, in as many pages as that takes."""
    runs: list[runs_pb2.Run] = []
    start = question.offset
    while (wanted := min(count - len(runs), LIST_PAGE)) > 0:
        question.limit, question.offset = wanted, min(start + len(runs), INT32_MAX)
        page = (await gateway.clients.ask(gateway.clients.runs.ListRuns, question)).runs
        runs.extend(page)
        if len(page) < wanted:
            break
    return runs


async def get_run(request: Request, gateway: Gateway) -> Response:
    """One run."""
    reference = run_ref(request)
    try:
        run = await gateway.clients.ask(gateway.clients.runs.GetRun, runs_pb2.GetRunRequest(run=reference))
    except grpc.aio.AioRpcError as error:
        if reason_of(error) != "RUN_NOT_FOUND":
            raise
        await load_thread(gateway, reference.thread_id)
        raise refuse(404, "Not Found") from error
    return encode.document_response(encode.run(run))


def run_ref(request: Request) -> runs_pb2.RunRef:
    """The run that the path names; 422 for malformed ids."""
    thread_id = path_id(request, "thread") if "thread_id" in request.path_params else ""
    return runs_pb2.RunRef(thread_id=thread_id, run_id=path_id(request, "run"))


async def delete_run(request: Request, gateway: Gateway) -> Response:
    """Deletes a run; a running one is stopped first."""
    question = runs_pb2.DeleteRunRequest(run=run_ref(request))
    await gateway.clients.ask(gateway.clients.runs.DeleteRun, question)
    return encode.no_content()


def cancel_action(request: Request) -> runs_pb2.CancelAction.ValueType:
    """The `action` parameter; anything but `rollback` is an interrupt."""
    if request.query_params.get("action") == "rollback":
        return runs_pb2.CANCEL_ACTION_ROLLBACK
    return runs_pb2.CANCEL_ACTION_INTERRUPT


def cancel_question(request: Request, thread_id: str, run_ids: list[str]) -> runs_pb2.CancelRunsRequest:
    """A cancel of named runs, whose reason shows in the thread's error."""
    action = cancel_action(request)
    word = "rollback" if action == runs_pb2.CANCEL_ACTION_ROLLBACK else "interrupt"
    return runs_pb2.CancelRunsRequest(
        thread_id=thread_id,
        run_ids=run_ids,
        action=action,
        reason=f"{word} requested via POST {request.url.path}",
    )


async def ask_cancel(gateway: Gateway, question: runs_pb2.CancelRunsRequest) -> None:
    """Cancels, with the contract's texts for what cannot be."""
    with answering(RUN_NOT_FOUND=NO_RUNS, NOT_CANCELLABLE=NOT_CANCELLABLE):
        await gateway.clients.ask(gateway.clients.runs.CancelRuns, question)


async def cancel_runs(request: Request, gateway: Gateway) -> Response:
    """Cancels several runs, by name or by status."""
    body = await read(request, RunsCancel, gateway.settings.http_max_request_body_bytes)
    if body.run_ids == []:
        raise refuse(*NO_RUNS)
    question = cancel_question(request, body.thread_id or "", body.run_ids or [])
    if body.status:
        question.states.extend(CANCELLED_BY_STATUS[body.status])
    await ask_cancel(gateway, question)
    return encode.no_content()


_THREAD = "/threads/{thread_id}/runs"
CREATED = (Header("Content-Location", "Path of the run"),)
ENDPOINTS = (
    Endpoint(
        "POST",
        "/runs",
        create_stateless_run,
        "Create a stateless run",
        StatelessRunCreate,
        answers.Run,
        errors=(400, 404, 422),
        headers=CREATED,
    ),
    Endpoint(
        "POST",
        "/runs/batch",
        create_batch,
        "Create stateless runs",
        RunBatch,
        list[answers.Run],
        errors=(400, 404, 422),
    ),
    Endpoint(
        "POST",
        "/runs/cancel",
        cancel_runs,
        "Cancel runs",
        RunsCancel,
        status=204,
        errors=(404, 422),
        query=(Query("action", "`interrupt` (default) or `rollback`"),),
    ),
    Endpoint(
        "POST",
        _THREAD,
        create_run,
        "Create a run on a thread",
        RunCreate,
        answers.Run,
        errors=(400, 404, 409, 422),
        headers=CREATED,
    ),
    Endpoint(
        "GET",
        _THREAD,
        list_runs,
        "List the runs of a thread",
        answer=answers.rows_of(answers.Run),
        errors=(400, 404, 422),
        query=(
            Query("limit", "At most so many; none for 0 or less", {"type": "integer", "default": 10}),
            Query("offset", "Runs to skip", {"type": "integer", "default": 0}),
            Query("status", "Only runs of this status"),
            Query("select", "Only these columns", {"type": "array", "items": {"enum": sorted(COLUMNS)}}),
        ),
    ),
    Endpoint("GET", _THREAD + "/{run_id}", get_run, "Read a run", answer=answers.Run, errors=(404, 422)),
    Endpoint("DELETE", _THREAD + "/{run_id}", delete_run, "Delete a run", status=204, errors=(404, 422)),
)
