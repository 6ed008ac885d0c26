"""The protocol's endpoints over HTTP: a stream of events per request, and commands one by one."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway import encode, sse
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import refuse
from threadmill_gateway.models.answers import Error
from threadmill_gateway.models.protocol import Command, CommandAnswer, CommandError, EventStreamRequest, ProtocolEvent
from threadmill_gateway.requests import path_id, read_json
from threadmill_gateway.responses import EventStream, Following, send_part
from threadmill_gateway.routes.endpoint import Endpoint
from threadmill_gateway.thread_protocol.commands import Commands
from threadmill_gateway.thread_protocol.envelopes import (
    CommandFailed,
    event_frames,
    failure,
    no_command,
    success,
)
from threadmill_gateway.thread_protocol.following import Pace, follow_thread
from threadmill_gateway.thread_protocol.subscribing import BadSubscription, selection_of, since_of

BAD_JSON = "Invalid JSON body"


class ProtocolStream(EventStream):
    """Events of the protocol as server-sent ones. It never ends: a shutdown cuts it, which clients mend.

    (An end they would take for that of the run, which has then failed.)
    """

    may_end_early = False

    def __init__(self, following: Following, gateway: Gateway, pace: Pace) -> None:
        super().__init__(following, {}, gateway.settings.heartbeat_seconds, gateway.closing, with_ids=True)
        self._pace = pace

    async def _send_events(self, events: Any, send: Send) -> None:
        async for part in self._pace.parts(events):
            await send_part(send, event_frames(part))

    def _failure(self, problem: dict[str, str]) -> bytes:
        return sse.frame("error", failure(None, CommandFailed("unknown_error", problem["message"])))


async def stream_events(request: Request, gateway: Gateway) -> Response:
    """Streams what is kept of a thread's events, and then what comes."""
    thread_id = path_id(request, "thread")
    body = await _body(request, gateway)
    try:
        question = runs_pb2.FollowThreadRequest(
            thread_id=thread_id, selections=[selection_of(body)], since=since_of(body)
        )
    except BadSubscription as error:
        raise refuse(400, str(error)) from error
    following = await follow_thread(gateway, question)
    return ProtocolStream(following, gateway, Pace(question.selections))


async def send_command(request: Request, gateway: Gateway) -> Response:
    """Carries out one command. Its failure is an answer too."""
    body = await _body(request, gateway)
    if (wrong := no_command(body)) is not None:
        return Response(wrong, 400, media_type="application/json")
    commands = Commands(gateway, request.path_params["thread_id"], request.headers)
    try:
        done = await commands.carry_out(body["method"], body.get("params"))
    except CommandFailed as failed:
        return encode.json_response(failure(body["id"], failed))
    return encode.json_response(success(body["id"], done.result, done.seq))


async def _body(request: Request, gateway: Gateway) -> Any:
    try:
        return await read_json(request, gateway.settings.http_max_request_body_bytes)
    except HTTPException as error:
        raise refuse(400, BAD_JSON) if error.status_code == 422 else error from error


ENDPOINTS = (
    Endpoint(
        "POST",
        "/threads/{thread_id}/stream/events",
        stream_events,
        "Stream the events of a thread (thread-streaming protocol)",
        EventStreamRequest,
        ProtocolEvent,
        errors=(400, 422),
        media_type="text/event-stream",
    ),
    Endpoint(
        "POST",
        "/threads/{thread_id}/commands",
        send_command,
        "Carry out a command on a thread (thread-streaming protocol)",
        Command,
        CommandAnswer,
        errors=(400,),
        problem=Error | CommandError,
    ),
)
