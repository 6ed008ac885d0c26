"""Runs by the protocol: agent and thread are named in the body, a run's id alone finds it."""

import asyncio
from functools import partial
from heapq import merge

import grpc
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway import encode
from threadmill_gateway.agent_protocol import documents
from threadmill_gateway.agent_protocol.agents import NO_AGENT, default_agent
from threadmill_gateway.agent_protocol.messages import joined
from threadmill_gateway.agent_protocol.models import AgentRunCreate, AgentRunSearch, AgentRunStream
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import answering, refuse
from threadmill_gateway.models.runs import RunFollow, StatelessRunFollow
from threadmill_gateway.requests import path_id, query_flag, read
from threadmill_gateway.responses import Call, Following, Outcome
from threadmill_gateway.routes.runs import (
    REFUSALS,
    STATES,
    ask_cancel,
    cancel_question,
    creation,
    first_runs,
    queue_run,
)
from threadmill_gateway.routes.streams import (
    begin_stream,
    begin_wait,
    cancel_watched,
    event_stream,
    followed_wait,
    is_resumable,
    stream_headers,
    stream_question,
    wait_reply,
)

# Names below /runs that are no run ids, but paths of either API.
FIXED = frozenset({"batch", "cancel", "crons", "search", "stream", "wait"})


async def create_run(request: Request, gateway: Gateway) -> Response:
    """Queues a run."""
    body = await read(request, AgentRunStream, gateway.settings.http_max_request_body_bytes)
    run = await queue_run(gateway, await _question(body, request, gateway))
    return encode.document_response(documents.run(run), {"Content-Location": f"/runs/{run.run_id}"})


async def _question(body: AgentRunCreate, request: Request, gateway: Gateway) -> runs_pb2.CreateRunRequest:
    """What the runs api is asked. Events are kept for a while, so that a client can go on with a stream it lost."""
    if body.messages is not None and not isinstance(body.input, dict | None):
        raise refuse(422, "input: must be an object, or absent, beside messages")
    document = {
        "assistant_id": body.agent_id or await default_agent(gateway),
        "input": joined(body.input, body.messages),
        "metadata": body.metadata,
        "config": body.config,
        "stream_resumable": True,
        "if_not_exists": body.if_not_exists,
        "on_disconnect": body.on_disconnect,
    }
    if body.webhook is not None:
        document["webhook"] = body.webhook
    if isinstance(body, AgentRunStream):
        document["stream_mode"] = body.stream_mode
    if body.thread_id is None:
        document["on_completion"] = body.on_completion or "delete"
        return await creation(StatelessRunFollow.model_validate(document), request, gateway, None)
    if body.on_completion == "delete":
        raise refuse(422, "on_completion: only the thread of a run without thread_id can be deleted with it")
    return await creation(RunFollow.model_validate(document), request, gateway, body.thread_id)


async def create_and_wait(request: Request, gateway: Gateway) -> Response:
    """Creates a run and answers with its result."""
    body = await read(request, AgentRunCreate, gateway.settings.http_max_request_body_bytes)
    wanted = runs_pb2.WaitRunRequest(create=await _question(body, request, gateway))
    with answering(**REFUSALS):
        call, run = await begin_wait(gateway, wanted)
    return _wait_reply(gateway, call, run, cancels=body.on_disconnect == "cancel")


async def wait_run(request: Request, gateway: Gateway) -> Response:
    """Waits for a run."""
    call, run = await begin_wait(gateway, runs_pb2.WaitRunRequest(run=_run_ref(request)))
    return _wait_reply(gateway, call, run)


def _wait_reply(gateway: Gateway, call: Call, run: runs_pb2.Run, *, cancels: bool = False) -> Response:
    location = f"/runs/{run.run_id}"
    headers = {"location": f"{location}/wait", "content-location": location}
    return wait_reply(gateway, call, run, headers, cancels=cancels, shape=partial(_result, gateway, run))


async def _result(gateway: Gateway, run: runs_pb2.Run, outcome: Outcome) -> bytes:
    """The answer to a wait: the run as it is now; where it has been deleted, as it was, in the state it ended in."""
    question = runs_pb2.GetRunRequest(run=runs_pb2.RunRef(run_id=run.run_id))
    try:
        run = await gateway.clients.ask(gateway.clients.runs.GetRun, question)
    except grpc.aio.AioRpcError:
        run.state = outcome.state or run.state
    return orjson.dumps(documents.result(run, outcome.body_json))


async def create_and_stream(request: Request, gateway: Gateway) -> Response:
    """Creates a run and streams it."""
    body = await read(request, AgentRunStream, gateway.settings.http_max_request_body_bytes)
    question = await _question(body, request, gateway)
    with answering(**REFUSALS):
        stream = await begin_stream(gateway, runs_pb2.StreamRunRequest(create=question))
    headers = stream_headers("", stream.run.run_id)
    return event_stream(gateway, stream, headers, with_ids=True, cancels=body.on_disconnect == "cancel")


async def follow_run(request: Request, gateway: Gateway) -> Response:
    """Follows a run; `Last-Event-ID` replays what the client has missed."""
    stream = await begin_stream(gateway, stream_question(request, _run_ref(request)))
    return event_stream(gateway, stream, stream_headers("", stream.run.run_id), with_ids=is_resumable(stream.run))


def _run_ref(request: Request) -> runs_pb2.RunRef:
    if request.path_params["run_id"] in FIXED:
        raise HTTPException(405, "Method Not Allowed", headers={"allow": "POST"})
    return runs_pb2.RunRef(run_id=path_id(request, "run"))


async def get_run(request: Request, gateway: Gateway) -> Response:
    """One run."""
    question = runs_pb2.GetRunRequest(run=_run_ref(request))
    return encode.document_response(documents.run(await gateway.clients.ask(gateway.clients.runs.GetRun, question)))


async def delete_run(request: Request, gateway: Gateway) -> Response:
    """Deletes a run; a running one is stopped first."""
    question = runs_pb2.DeleteRunRequest(run=_run_ref(request))
    await gateway.clients.ask(gateway.clients.runs.DeleteRun, question)
    return encode.no_content()


async def cancel_run(request: Request, gateway: Gateway) -> Response:
    """Cancels a run; with `wait`, answers once it has ended."""
    reference = _run_ref(request)
    if request.query_params.get("action", "interrupt") not in ("interrupt", "rollback"):
        raise refuse(422, "action: must be 'interrupt' or 'rollback'")
    question = cancel_question(request, "", [reference.run_id])
    if not query_flag(request, "wait"):
        await ask_cancel(gateway, question)
        return encode.no_content()
    call, run = await cancel_watched(gateway, reference, question)
    await _until_ended(gateway, followed_wait(gateway, call, run))
    return encode.no_content()


async def _until_ended(gateway: Gateway, following: Following) -> None:
    """Returns at the end of the run; 503 when the process shuts down before."""
    ended = asyncio.ensure_future(anext(following.messages()))
    closing = asyncio.ensure_future(gateway.closing.wait())
    try:
        await asyncio.wait({ended, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            raise refuse(503, "Service Unavailable")
        ended.result()
    finally:
        closing.cancel()
        ended.cancel()
        following.cancel()
        await asyncio.gather(ended, closing, return_exceptions=True)


async def search_runs(request: Request, gateway: Gateway) -> Response:
    """Runs of all threads, newest first."""
    body = await read(request, AgentRunSearch, gateway.settings.http_max_request_body_bytes)
    question = runs_pb2.ListRunsRequest(
        thread_id=body.thread_id or "",
        assistant_id=body.agent_id or "",
        metadata_json=encode.dumps(body.metadata) if body.metadata else b"",
    )
    with answering(ASSISTANT_NOT_FOUND=NO_AGENT, INVALID_ASSISTANT=NO_AGENT):
        if body.status == "pending":
            runs = await _unfinished(gateway, question, body.offset, body.limit)
        else:
            question.offset = body.offset
            question.state = STATES[body.status] if body.status else runs_pb2.RUN_STATE_UNSPECIFIED
            runs = await first_runs(gateway, question, body.limit)
    return encode.document_response([documents.run(run) for run in runs])


async def _unfinished(
    gateway: Gateway, question: runs_pb2.ListRunsRequest, offset: int, limit: int
) -> list[runs_pb2.Run]:
    """What the protocol calls pending: runs that wait and runs that execute."""
    found = []
    for state in (runs_pb2.RUN_STATE_PENDING, runs_pb2.RUN_STATE_RUNNING):
        question.state, question.offset = state, 0
        found.append(await first_runs(gateway, question, offset + limit))
    newest = merge(*found, key=lambda run: (run.create_time.seconds, run.create_time.nanos), reverse=True)
    return list(newest)[offset : offset + limit]
