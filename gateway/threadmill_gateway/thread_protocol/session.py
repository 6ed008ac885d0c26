"""One WebSocket: commands in, answers and events out.

Whatever its subscriptions, a session follows its thread by one call, so that events come once and in order. When the
subscriptions change, that call ends at an event; what is kept of the new one up to there comes; and the call goes on.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import grpc
import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket, WebSocketDisconnect
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import problem_of, refuse
from threadmill_gateway.responses import Following, order
from threadmill_gateway.thread_protocol.commands import (
    Commands,
    as_command_failures,
    checked_selection,
    checked_subscription,
)
from threadmill_gateway.thread_protocol.envelopes import CommandFailed, event_json, failure, no_command, success
from threadmill_gateway.thread_protocol.following import Pace, follow_thread
from threadmill_gateway.thread_protocol.subscribing import count_of
from threadmill_gateway.thread_protocol.tree import tree_of

log = structlog.get_logger(__name__)

Params = Mapping[str, Any]
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
TEXT_ONLY = 1003
LIFECYCLE = runs_pb2.Selection(channels=["lifecycle"])


class Session:
    """The conversation with one client about one thread. `run` lasts until the client goes."""

    def __init__(self, socket: WebSocket, gateway: Gateway, thread_id: str) -> None:
        self._socket = socket
        self._gateway = gateway
        self._thread_id = thread_id
        self._commands = Commands(gateway, thread_id, socket.headers)
        self._selections: dict[str, runs_pb2.Selection] = {}
        self._live: asyncio.Task[None] | None = None
        # How far the session has followed the thread, as the runs api counts; empty before the first subscription.
        self._position = ""
        # The highest number that has been sent.
        self._seq = 0
        # Namespace of each request that has been sent.
        self._requests: dict[str, list[str]] = {}
        self._handlers: Mapping[str, Callable[[Params], Awaitable[dict[str, Any]]]] = {
            "subscription.subscribe": self._subscribe,
            "subscription.reconnect": self._reconnect,
            "subscription.unsubscribe": self._unsubscribe,
            "agent.getTree": self._tree,
            "input.respond": self._respond,
        }

    async def run(self) -> None:
        """Serves commands one after the other, and events meanwhile."""
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("text") is None:
                    await self._socket.close(TEXT_ONLY, "commands come in text frames")
                    return
                await self._send(await self._answer(message["text"]))
        except (WebSocketDisconnect, OSError):  # in the middle of an answer
            return
        except Exception:  # the top of a conversation: logged in full, and told as a number
            log.exception("socket_failed", thread_id=self._thread_id)
            await self._hang_up(INTERNAL_ERROR)
        finally:
            await self._pause()

    async def _send(self, message: bytes) -> None:
        await self._socket.send_text(message.decode())

    async def _answer(self, text: str) -> bytes:
        try:
            command = orjson.loads(text)
        except orjson.JSONDecodeError:
            return failure(None, CommandFailed("invalid_argument", "Protocol commands must be valid JSON."))
        if (wrong := no_command(command)) is not None:
            return wrong
        given = command.get("params")
        try:
            result = await self._carry_out(command["method"], given if isinstance(given, dict) else {})
        except CommandFailed as failed:
            return failure(command["id"], failed)
        return success(command["id"], result, self._seq)

    async def _carry_out(self, method: str, params: Params) -> dict[str, Any]:
        """The result of a command. Raises CommandFailed."""
        handler = self._handlers.get(method)
        if handler is None:
            return (await self._commands.carry_out(method, params)).result
        with as_command_failures():
            return await handler(params)

    async def _subscribe(self, params: Params) -> dict[str, Any]:
        selection = checked_selection("subscription.subscribe", params)
        return await self._add(new_id(), selection, count_of(params.get("since")) or 0)

    async def _reconnect(self, params: Params) -> dict[str, Any]:
        selection = checked_selection("subscription.reconnect", params)
        since = count_of(params.get("since"))
        if since is None:
            raise CommandFailed("invalid_argument", "subscription.reconnect requires a non-negative integer since.")
        named = params.get("subscription_id")
        return await self._add(named if isinstance(named, str) and named else new_id(), selection, since)

    async def _unsubscribe(self, params: Params) -> dict[str, Any]:
        subscription_id = checked_subscription(params)
        if subscription_id not in self._selections:
            raise CommandFailed("no_such_subscription", f"Unknown subscription: {subscription_id}")
        await self._pause()
        del self._selections[subscription_id]
        self._go_on()
        return {}

    async def _add(self, subscription_id: str, selection: runs_pb2.Selection, since: int) -> dict[str, Any]:
        """Sends what is kept of a new subscription, and from then on what comes."""
        await self._pause()
        try:
            # The first subscription gets the whole past, later ones what may still concern them; and what comes after
            # the others' position, comes after what they have still to get.
            later = bool(self._selections)
            replay = runs_pb2.REPLAY_LAST_RUN if later else runs_pb2.REPLAY_UNSPECIFIED
            position, count = self._position, 0
            async with aclosing(self._kept(selection, since=since, replay=replay)) as kept:
                async for message in kept:
                    for event in message.batch.events:
                        if not later or order(event.id) <= order(position):
                            await self._tell(event)
                            count += 1
                    if not later:
                        self._position = message.position
            self._selections[subscription_id] = selection
        finally:
            self._go_on()
        return {"subscription_id": subscription_id, "replayed_events": count}

    async def _kept(
        self, selection: runs_pb2.Selection, **how: Any
    ) -> AsyncGenerator[runs_pb2.FollowThreadResponse, None]:
        """What is kept of a selection. Raises the service's errors; 503 and 504 if it ends or hangs."""
        seconds = self._gateway.settings.call_timeout_seconds
        following = await follow_thread(self._gateway, self._question([selection], **how))
        try:
            messages = following.messages()
            while True:
                async with asyncio.timeout(seconds):
                    message = await anext(messages)
                yield message
                if message.live:
                    return
        except TimeoutError as error:
            raise refuse(504, "Gateway Timeout") from error
        except StopAsyncIteration as error:
            raise refuse(503, "Service Unavailable") from error
        finally:
            following.cancel()

    def _question(self, selections: Iterable[runs_pb2.Selection], **how: Any) -> runs_pb2.FollowThreadRequest:
        return runs_pb2.FollowThreadRequest(thread_id=self._thread_id, selections=selections, **how)

    async def _pause(self) -> None:
        """Stops to send events, between two of them."""
        if self._live is not None:
            self._live.cancel()
            await asyncio.gather(self._live, return_exceptions=True)
            self._live = None

    def _go_on(self) -> None:
        if self._selections:
            self._live = asyncio.create_task(self._send_live(), name=f"thread events {self._thread_id}")

    async def _send_live(self) -> None:
        """Sends what comes, until it is cancelled, or the client or the service has gone."""
        selections = list(self._selections.values())
        try:
            following = await follow_thread(self._gateway, self._question(selections, continue_after=self._position))
            try:
                await self._forward(following, Pace(selections))
            finally:
                following.cancel()
            await self._hang_up(TRY_AGAIN_LATER, "the stream of the thread has ended")  # which it never does by itself
        except (WebSocketDisconnect, OSError):
            return
        except (grpc.aio.AioRpcError, HTTPException) as error:
            text = problem_of(error)["message"] if isinstance(error, grpc.aio.AioRpcError) else error.detail
            log.warning("thread_events_broken", thread_id=self._thread_id, error=text)
            await self._hang_up(TRY_AGAIN_LATER, text)
        except Exception:  # the top of a task: nobody would hear of it
            log.exception("thread_events_failed", thread_id=self._thread_id)
            await self._hang_up(INTERNAL_ERROR)

    async def _hang_up(self, code: int, text: str = "") -> None:
        """Closes, with a word about it; the socket may be closed already."""
        with suppress(WebSocketDisconnect, OSError, RuntimeError):
            if text:
                await self._send(failure(None, CommandFailed("unknown_error", text)))
            await self._socket.close(code)

    async def _forward(self, following: Following, pace: Pace) -> None:
        async for message in following.messages():
            if message.batch.events:
                async for part in pace.parts(message.batch.events):
                    for event in part:
                        await self._tell(event)
                        self._position = event.id or self._position
            self._position = message.position or self._position

    async def _tell(self, event: runs_pb2.ProtocolEvent) -> None:
        await self._send(event_json(event))
        self._seq = max(self._seq, event.seq)
        if event.method == "input.requested":
            self._requests[orjson.loads(event.data_json)["interrupt_id"]] = list(event.namespace)

    async def _tree(self, _: Params) -> dict[str, Any]:
        """The graphs of the thread's last run, and how far they are."""
        async with aclosing(self._kept(LIFECYCLE, replay=runs_pb2.REPLAY_LAST_RUN)) as kept:
            tree = tree_of([event async for message in kept for event in message.batch.events])
        if tree is None:
            raise CommandFailed("no_such_run", "No active run is bound to this thread.")
        return {"tree": tree}

    async def _respond(self, params: Params) -> dict[str, Any]:
        """Answers interrupts; those that the client has seen here, it must name with their namespace."""
        many = params.get("responses")
        answers: list[Any] = many if isinstance(many, list) else [dict(params)]
        for answer in answers:
            if not isinstance(answer, dict):
                continue
            asked = self._requests.get(str(answer.get("interrupt_id")))
            if asked is not None and asked != (answer.get("namespace") or []):
                raise CommandFailed("no_such_interrupt", "Interrupt namespace does not match the pending interrupt.")
        return (await self._commands.carry_out("input.respond", params)).result
