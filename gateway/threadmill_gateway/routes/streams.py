"""Runs that a client waits for or follows, and the stream of a thread."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway import encode
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import answering, problem_of, refuse
from threadmill_gateway.models import answers
from threadmill_gateway.models.base import JsonObject
from threadmill_gateway.models.runs import RunFollow, StatelessRunFollow
from threadmill_gateway.requests import path_id, query_flag, query_list
from threadmill_gateway.responses import (
    Call,
    EventStream,
    Following,
    Outcome,
    Shape,
    WaitReply,
    as_it_came,
    event_reply,
    first_of,
    is_away,
)
from threadmill_gateway.routes.endpoint import Endpoint, Header, Query
from threadmill_gateway.routes.runs import (
    NO_RUNS,
    REFUSALS,
    ask_cancel,
    cancel_question,
    new_run,
    run_ref,
    thread_of_new_run,
)

THREAD_STREAM_MODES = frozenset({"run_modes", "lifecycle", "state_update"})
BEFORE_ALL = "0-0"
# What fails later has been repeated by gRPC, or is not to be repeated.
BROKEN_SECONDS = 3.0
BROKEN_PAUSE_SECONDS = 0.1
log = structlog.get_logger(__name__)
_THREAD_EVENT_ID = re.compile(r"-|\d+(?:-\d+)?")


async def wait_run(request: Request, gateway: Gateway) -> Response:
    """Creates a run on a thread and answers with its result."""
    return await _create_and_wait(gateway, *await new_run(request, gateway, RunFollow, thread_of_new_run(request)))


async def wait_stateless_run(request: Request, gateway: Gateway) -> Response:
    """Creates a stateless run and answers with its result."""
    return await _create_and_wait(gateway, *await new_run(request, gateway, StatelessRunFollow, None))


async def _create_and_wait(
    gateway: Gateway, body: RunFollow | StatelessRunFollow, question: runs_pb2.CreateRunRequest
) -> Response:
    with answering(**REFUSALS):
        call, run = await begin_wait(gateway, runs_pb2.WaitRunRequest(create=question))
    cancels = body.on_disconnect == "cancel"
    return wait_reply(gateway, call, run, wait_headers(run.thread_id, run.run_id), cancels=cancels)


async def join_run(request: Request, gateway: Gateway) -> Response:
    """Waits for an existing run. An unknown one is a failed result, not a 404."""
    reference = run_ref(request)
    question = runs_pb2.WaitRunRequest(run=reference)
    headers = wait_headers(reference.thread_id, reference.run_id)
    try:
        call, run = await begin_wait(gateway, question)
    except grpc.aio.AioRpcError as error:
        if reason_of(error) != "RUN_NOT_FOUND":
            raise
        return encode.document_response({"__error__": problem_of(error)}, headers)
    return wait_reply(gateway, call, run, headers, cancels=query_flag(request, "cancel_on_disconnect"))


async def cancel_run(request: Request, gateway: Gateway) -> Response:
    """Cancels a run; with `wait`, answers once it has ended."""
    reference = run_ref(request)
    question = cancel_question(request, reference.thread_id, [reference.run_id])
    if not query_flag(request, "wait"):
        await ask_cancel(gateway, question)
        return Response(status_code=202)
    call, run = await cancel_watched(gateway, reference, question)
    return wait_reply(gateway, call, run, wait_headers(run.thread_id, run.run_id), shape=_nothing)


async def _nothing(_: Outcome) -> bytes:
    return b"{}"


async def cancel_watched(
    gateway: Gateway, reference: runs_pb2.RunRef, question: runs_pb2.CancelRunsRequest
) -> tuple[Call, runs_pb2.Run]:
    """Cancels a run, and the wait for its end.

    The wait begins before the cancel: a rollback deletes the run, and nobody could wait for it any more.
    """
    with answering(RUN_NOT_FOUND=NO_RUNS):
        call, run = await begin_wait(gateway, runs_pb2.WaitRunRequest(run=reference))
    try:
        await ask_cancel(gateway, question)
    except BaseException:
        call.cancel()
        raise
    return call, run


async def begin_wait(gateway: Gateway, question: runs_pb2.WaitRunRequest) -> tuple[Call, runs_pb2.Run]:
    """A wait for a run, new or existing, and the run. Raises the service's errors."""
    call, first = await begin(gateway, gateway.clients.runs.WaitRun, question)
    return call, first.run


async def begin(gateway: Gateway, method: Any, question: Any) -> tuple[Call, Any]:
    """A call that lasts, and its first message.

    gRPC repeats no call whose answer has begun to arrive when the connection breaks; so that is done here. A create
    carries the run's id: asked again, the service answers the run that the first call has made.
    """
    clients = gateway.clients
    now = asyncio.get_running_loop().time
    began_at = now()
    while True:
        call = clients.follow(method, question)
        try:
            return call, await first_of(call, gateway.settings.call_timeout_seconds, clients.watch(method, call))
        except grpc.aio.AioRpcError as error:
            if not is_away(error) or now() - began_at > BROKEN_SECONDS:
                raise
            log.warning("call_repeated", details=error.details())
            await asyncio.sleep(BROKEN_PAUSE_SECONDS)
        except asyncio.CancelledError:
            call.cancel()
            raise


def wait_headers(thread_id: str, run_id: str) -> dict[str, str]:
    """Where to wait for the run again."""
    location = f"/threads/{thread_id}/runs/{run_id}"
    return {"location": f"{location}/join", "content-location": location}


def wait_reply(
    gateway: Gateway,
    call: Call,
    run: runs_pb2.Run,
    headers: dict[str, str],
    *,
    cancels: bool = False,
    shape: Shape = as_it_came,
) -> WaitReply:
    """The response to a wait that has begun; `cancels`: a client that goes cancels the run."""
    settings = gateway.settings
    following = followed_wait(gateway, call, run)
    on_gone = _canceller(gateway, run) if cancels else None
    return WaitReply(following, headers, settings.heartbeat_seconds, gateway.closing, on_gone, shape=shape)


def followed_wait(gateway: Gateway, call: Call, run: runs_pb2.Run) -> Following:
    """A wait that has begun, and outlasts the replica behind it."""

    def rejoin(position: str) -> Call:
        again = runs_pb2.WaitRunRequest(run=_reference(run), continue_after=position)
        return gateway.clients.follow(gateway.clients.runs.WaitRun, again, again=True)

    return Following(call, rejoin, BEFORE_ALL)


def _reference(run: runs_pb2.Run) -> runs_pb2.RunRef:
    return runs_pb2.RunRef(thread_id=run.thread_id, run_id=run.run_id)


def _canceller(gateway: Gateway, run: runs_pb2.Run) -> Callable[[], None]:
    return partial(gateway.abandoned.cancel, _reference(run))


async def stream_run(request: Request, gateway: Gateway) -> Response:
    """Creates a run on a thread and streams it."""
    return await _create_and_stream(gateway, *await new_run(request, gateway, RunFollow, thread_of_new_run(request)))


async def stream_stateless_run(request: Request, gateway: Gateway) -> Response:
    """Creates a stateless run and streams it."""
    return await _create_and_stream(gateway, *await new_run(request, gateway, StatelessRunFollow, None))


async def _create_and_stream(
    gateway: Gateway, body: RunFollow | StatelessRunFollow, question: runs_pb2.CreateRunRequest
) -> Response:
    with answering(**REFUSALS):
        stream = await begin_stream(gateway, runs_pb2.StreamRunRequest(create=question))
    headers = stream_headers(question.thread_id, stream.run.run_id)
    cancels = body.on_disconnect == "cancel"
    return event_stream(gateway, stream, headers, with_ids=body.stream_resumable, cancels=cancels)


async def join_stream(request: Request, gateway: Gateway) -> Response:
    """Follows an existing run. An unknown one is an `error` event, not a 404."""
    reference = run_ref(request)
    headers = stream_headers(reference.thread_id, reference.run_id)
    question = stream_question(request, reference)
    try:
        stream = await begin_stream(gateway, question)
    except grpc.aio.AioRpcError as error:
        if reason_of(error) != "RUN_NOT_FOUND":
            raise
        return event_reply("error", problem_of(error), headers)
    cancels = query_flag(request, "cancel_on_disconnect")
    return event_stream(gateway, stream, headers, with_ids=is_resumable(stream.run), cancels=cancels)


def stream_question(request: Request, reference: runs_pb2.RunRef) -> runs_pb2.StreamRunRequest:
    """What a client that joins a run wants to see of it."""
    return runs_pb2.StreamRunRequest(
        run=reference,
        last_event_id=request.headers.get("last-event-id", ""),
        stream_modes=query_list(request, "stream_mode"),
    )


@dataclass(frozen=True, slots=True)
class RunStream:
    """The stream of a run that has begun: which events it shows, and the event id after which it does."""

    call: Call
    run: runs_pb2.Run
    position: str
    modes: list[str]


async def begin_stream(gateway: Gateway, question: runs_pb2.StreamRunRequest) -> RunStream:
    """The stream of a run, new or existing. Raises the service's errors."""
    call, first = await begin(gateway, gateway.clients.runs.StreamRun, question)
    return RunStream(call, first.run, first.position or BEFORE_ALL, list(question.stream_modes))


def stream_headers(thread_id: str, run_id: str) -> dict[str, str]:
    """Where to follow the run again; `thread_id` is empty for a stateless one."""
    location = f"/threads/{thread_id}/runs/{run_id}" if thread_id else f"/runs/{run_id}"
    return {"location": f"{location}/stream", "content-location": location}


def is_resumable(run: runs_pb2.Run) -> bool:
    """Whether the events of a run have ids."""
    return bool(orjson.loads(run.kwargs_json or b"{}").get("resumable"))


def event_stream(
    gateway: Gateway, stream: RunStream, headers: dict[str, str], *, with_ids: bool, cancels: bool = False
) -> EventStream:
    """The response to a stream that has begun; `cancels`: a client that goes cancels the run."""
    reference = _reference(stream.run)

    def rejoin(position: str) -> Call:
        again = runs_pb2.StreamRunRequest(run=reference, continue_after=position, stream_modes=stream.modes)
        return gateway.clients.follow(gateway.clients.runs.StreamRun, again, again=True)

    settings = gateway.settings
    following = Following(stream.call, rejoin, stream.position)
    on_gone = _canceller(gateway, stream.run) if cancels else None
    return EventStream(following, headers, settings.heartbeat_seconds, gateway.closing, on_gone, with_ids=with_ids)


async def stream_thread(request: Request, gateway: Gateway) -> Response:
    """Follows all runs of a thread until the client goes."""
    question = runs_pb2.StreamThreadRequest(
        thread_id=path_id(request, "thread"),
        stream_modes=_thread_modes(request),
        last_event_id=request.headers.get("last-event-id", ""),
    )
    if question.last_event_id and not _THREAD_EVENT_ID.fullmatch(question.last_event_id):
        raise refuse(422, "Invalid last-event-id: must be a valid Redis stream ID")
    method = gateway.clients.runs.StreamThread

    def rejoin(position: str) -> Call:
        again = runs_pb2.StreamThreadRequest(
            thread_id=question.thread_id, stream_modes=question.stream_modes, continue_after=position
        )
        return gateway.clients.follow(method, again, again=True)

    call, first = await begin(gateway, method, question)
    following = Following(call, rejoin, first.position)
    return EventStream(following, {}, gateway.settings.heartbeat_seconds, gateway.closing, with_ids=True)


def _thread_modes(request: Request) -> list[str]:
    """`stream_modes` (the last one counts), or `stream_mode`, as the SDKs send it."""
    given = request.query_params.getlist("stream_modes")
    if given:
        modes = [part.strip() for part in given[-1].split(",") if part.strip()]
    else:
        modes = query_list(request, "stream_mode")
    for mode in modes:
        if mode not in THREAD_STREAM_MODES:
            raise refuse(422, f"Invalid stream mode: {mode}")
    return modes


_THREAD = "/threads/{thread_id}/runs"
_RUN = _THREAD + "/{run_id}"
# 502: a stream or wait that ended before it began.
_CREATE_ERRORS = (400, 404, 409, 422, 502)
_SSE = "text/event-stream"
FOLLOWED = (
    Header("Location", "Where to go on after the connection broke"),
    Header("Content-Location", "Path of the run"),
)
GONE = Query("cancel_on_disconnect", "Cancel the run when the client goes", {"type": "boolean", "default": False})
MODES = Query("stream_mode", "Only events of these modes", {"type": "array", "items": {"type": "string"}})
ENDPOINTS = (
    Endpoint(
        "POST",
        "/runs/wait",
        wait_stateless_run,
        "Create a stateless run and wait",
        StatelessRunFollow,
        Any,
        errors=(400, 404, 422, 502),
        headers=FOLLOWED,
    ),
    Endpoint(
        "POST",
        "/runs/stream",
        stream_stateless_run,
        "Create a stateless run and stream it",
        StatelessRunFollow,
        answers.StreamEvent,
        errors=(400, 404, 422, 502),
        headers=FOLLOWED,
        media_type=_SSE,
    ),
    Endpoint(
        "POST",
        _THREAD + "/wait",
        wait_run,
        "Create a run and wait",
        RunFollow,
        Any,
        errors=_CREATE_ERRORS,
        headers=FOLLOWED,
    ),
    Endpoint(
        "POST",
        _THREAD + "/stream",
        stream_run,
        "Create a run and stream it",
        RunFollow,
        answers.StreamEvent,
        errors=_CREATE_ERRORS,
        headers=FOLLOWED,
        media_type=_SSE,
    ),
    Endpoint(
        "GET",
        _RUN + "/join",
        join_run,
        "Wait for a run",
        answer=Any,
        errors=(422, 502),
        query=(GONE,),
        headers=FOLLOWED,
    ),
    Endpoint(
        "GET",
        _RUN + "/stream",
        join_stream,
        "Follow a run",
        answer=answers.StreamEvent,
        errors=(422, 502),
        query=(MODES, GONE),
        headers=FOLLOWED,
        media_type=_SSE,
    ),
    Endpoint(
        "POST",
        _RUN + "/cancel",
        cancel_run,
        "Cancel a run",
        status=202,
        also=((200, JsonObject),),
        errors=(404, 422, 502),
        headers=FOLLOWED,
        query=(
            Query("wait", "Answer 200 once the run has ended", {"type": "boolean", "default": False}),
            Query("action", "`interrupt` (default) or `rollback`"),
        ),
    ),
    Endpoint(
        "GET",
        "/threads/{thread_id}/stream",
        stream_thread,
        "Follow all runs of a thread",
        answer=answers.StreamEvent,
        errors=(422, 502),
        query=(Query("stream_modes", "Comma-separated: run_modes, lifecycle, state_update"),),
        media_type=_SSE,
    ),
)
