"""The commands that act on a thread: `run.start` and `input.respond`.

Both create a run whose events are for this protocol: by a key in its config the executor knows, and they are kept for
those who come later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import grpc
import orjson
import structlog
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from threadmill_chassis.grpc_errors import reason_of
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import describe, http_of
from threadmill_gateway.models.runs import RunCreate
from threadmill_gateway.requests import canonical_uuid
from threadmill_gateway.routes.runs import queue_run
from threadmill_gateway.routes.streams import begin_wait, followed_wait
from threadmill_gateway.run_requests import STRATEGIES, create_request
from threadmill_gateway.thread_protocol.envelopes import CommandFailed
from threadmill_gateway.thread_protocol.subscribing import BadSubscription, selection_of

log = structlog.get_logger(__name__)

EVENT_STREAMING = "__event_streaming_v2"
STREAM_MODES = ("values", "updates", "messages", "tools", "lifecycle", "custom", "tasks", "checkpoints")
# How long a command that depends on the thread's state waits for a run that is under way.
SETTLE_SECONDS = 5.0
SETTLING_SECONDS = 0.02
# Those who stop what is under way need not wait for its end.
IMPATIENT = frozenset({"interrupt", "rollback"})

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """What a command has led to. `seq`: all that follows from it comes after this event; 0: not known."""

    result: dict[str, Any]
    seq: int = 0


Handler = Callable[["Commands", Params], Awaitable[Done]]


@contextmanager
def as_command_failures() -> Iterator[None]:
    """Within the block, whatever a request fails with in HTTP fails as a command."""
    try:
        yield
    except HTTPException as error:
        raise CommandFailed("unknown_error", f"{error.status_code}: {error.detail}") from error
    except ValidationError as error:
        raise CommandFailed("invalid_argument", describe(error)) from error
    except grpc.aio.AioRpcError as error:
        status, text = http_of(error)
        raise CommandFailed("unknown_error", f"{status}: {text}") from error


class Commands:
    """The commands of one thread, for one client. Each answers its result, or raises CommandFailed.

    `thread_id` as the client spells it: one that is no UUID fails every command that acts on the thread.
    """

    def __init__(self, gateway: Gateway, thread_id: str, headers: Headers) -> None:
        self._gateway = gateway
        self._thread_id = canonical_uuid(thread_id) or ""
        self._headers = headers

    async def carry_out(self, method: str, params: Any) -> Done:
        """Carries out a command. Raises CommandFailed."""
        handler = HANDLERS.get(method)
        if handler is None:
            raise CommandFailed("unknown_command", f"Unknown protocol command: {method}")
        with as_command_failures():
            return await handler(self, params if isinstance(params, dict) else {})

    async def subscribe(self, params: Params) -> Done:
        """Checks a subscription. It lasts as long as the connection: over HTTP, none."""
        checked_selection("subscription.subscribe", params)
        return Done({"subscription_id": new_id(), "replayed_events": 0})

    async def unsubscribe(self, params: Params) -> Done:
        """There is nothing to end, over HTTP."""
        raise CommandFailed("no_such_subscription", f"Unknown subscription: {checked_subscription(params)}")

    async def unbound(self, params: Params) -> Done:
        """What needs a connection that follows a run."""
        raise CommandFailed("no_such_run", "No active run is bound to this thread.")

    async def run_start(self, params: Params) -> Done:
        """Starts a run, on a thread that is created if it is missing. A paused one goes on with the input."""
        if not isinstance(params.get("assistant_id"), str) or not params["assistant_id"]:
            raise CommandFailed("invalid_argument", "run.start requires an assistant_id.")
        _check_tracer(params.get("langsmith_tracer"))
        if not self._thread_id:
            raise CommandFailed("unknown_error", "422: Invalid thread ID")
        strategy = _strategy(params)
        given = params.get("input")
        body: dict[str, Any] = {
            "assistant_id": params["assistant_id"],
            "multitask_strategy": strategy,
            "if_not_exists": "create",
            **_present(params, "config", "metadata", "langsmith_tracer"),
        }
        if given is not None and await self._asks(self._deadline(patient=strategy not in IMPATIENT)):
            body["command"] = {"resume": given}
        else:
            body["input"] = given
        seq = await self._position()
        return Done({"run_id": (await self._create(body)).run_id}, seq)

    async def input_respond(self, params: Params) -> Done:
        """Answers interrupts, all of which have to be pending: the run goes on."""
        responses = _responses(params)
        deadline = self._deadline(patient=True)
        while True:
            thread = await self._settled(deadline) if self._thread_id else None
            if thread is None:
                raise CommandFailed("no_such_run", "No interrupted run is bound to this thread.")
            pending = _pending(thread)
            for interrupt_id in responses:
                if interrupt_id not in pending:
                    raise _consumed(interrupt_id)
            try:
                await self._create(await self._answer(thread, responses, params))
            except HTTPException as error:
                # The run that asks has still to end, or somebody else has just answered.
                if error.status_code != HTTPStatus.CONFLICT or not await self._await_run(deadline):
                    raise
                continue
            # Without a number: clients would take it for that of the last event that they need not see any more.
            return Done({})

    async def _answer(self, thread: threads_pb2.Thread, responses: Params, params: Params) -> dict[str, Any]:
        """The run that goes on with the answers; no other must be under way."""
        update, goto = params.get("update"), params.get("goto")
        command = {"resume": responses} | ({"update": update} if _is_update(update) else {})
        return {
            "assistant_id": await self._assistant_of(thread),
            "command": command | ({"goto": goto} if goto is not None else {}),
            "multitask_strategy": "reject",
            **_present(params, "config", "metadata"),
        }

    async def _position(self) -> int:
        """Number of the thread's last event; 0, which says nothing, while nobody can tell."""
        clients = self._gateway.clients
        question = runs_pb2.GetThreadPositionRequest(thread_id=self._thread_id)
        return (await clients.ask(clients.runs.GetThreadPosition, question)).seq

    async def _assistant_of(self, thread: threads_pb2.Thread) -> str:
        """The assistant that ran on the thread last: its metadata tell, unless a client has overwritten them."""
        named = orjson.loads(thread.metadata_json or b"{}").get("assistant_id")
        if isinstance(named, str) and named:
            return named
        runs = await self._runs(runs_pb2.RUN_STATE_UNSPECIFIED)
        return runs[0].assistant_id if runs else ""

    async def _create(self, body: Params) -> runs_pb2.Run:
        config = _object(body.get("config"), "config")
        configurable = _object(config.get("configurable"), "config.configurable")
        _check_fork(configurable)
        config = {
            **config,
            "configurable": {**configurable, EVENT_STREAMING: True, "thread_id": self._thread_id},
        }
        run = RunCreate.model_validate({**body, "config": config})
        passed = self._gateway.settings.configurable_headers
        question = create_request(run, self._thread_id, self._headers, passed)
        question.stream_modes[:] = STREAM_MODES
        question.stream_subgraphs = question.stream_resumable = True
        return await queue_run(self._gateway, question)

    async def _asks(self, deadline: float) -> bool:
        """Whether the thread waits for an answer."""
        thread = await self._settled(deadline)
        return thread is not None and bool(_pending(thread))

    def _deadline(self, *, patient: bool) -> float:
        return asyncio.get_running_loop().time() + (SETTLE_SECONDS if patient else 0.0)

    async def _settled(self, deadline: float) -> threads_pb2.Thread | None:
        """The thread, once no run is under way on it or the time is up; None if there is none."""
        while True:
            thread = await self._thread()
            if thread is None or thread.state != threads_pb2.THREAD_STATE_BUSY or not await self._await_run(deadline):
                return thread

    async def _thread(self) -> threads_pb2.Thread | None:
        clients = self._gateway.clients
        try:
            return await clients.ask(clients.threads.GetThread, threads_pb2.GetThreadRequest(thread_id=self._thread_id))
        except grpc.aio.AioRpcError as error:
            if reason_of(error) == "THREAD_NOT_FOUND":
                return None
            raise

    async def _await_run(self, deadline: float) -> bool:
        """Waits for the end of a run that is under way, if there is one. False if there is no time to do so."""
        seconds = deadline - asyncio.get_running_loop().time()
        if seconds <= 0:
            return False
        active = await self._runs(runs_pb2.RUN_STATE_RUNNING) or await self._runs(runs_pb2.RUN_STATE_PENDING)
        if not active:  # it has ended just now, and its thread is about to show it
            await asyncio.sleep(SETTLING_SECONDS)
            return True
        reference = runs_pb2.RunRef(thread_id=self._thread_id, run_id=active[0].run_id)
        try:
            async with asyncio.timeout(seconds):
                call, run = await begin_wait(self._gateway, runs_pb2.WaitRunRequest(run=reference))
                following = followed_wait(self._gateway, call, run)
                try:
                    async for _ in following.messages():
                        pass
                finally:
                    following.cancel()
        except TimeoutError:
            log.debug("run_outlasts_command", run_id=reference.run_id)
        except grpc.aio.AioRpcError as error:
            if reason_of(error) != "RUN_NOT_FOUND":
                raise
        return True

    async def _runs(self, state: "runs_pb2.RunState.ValueType") -> Sequence[runs_pb2.Run]:
        """The newest run in this state, if there is one."""
        clients = self._gateway.clients
        question = runs_pb2.ListRunsRequest(thread_id=self._thread_id, state=state, limit=1)
        return (await clients.ask(clients.runs.ListRuns, question)).runs


HANDLERS: Mapping[str, Handler] = {
    "run.start": Commands.run_start,
    "input.respond": Commands.input_respond,
    "subscription.subscribe": Commands.subscribe,
    "subscription.unsubscribe": Commands.unsubscribe,
    "subscription.reconnect": Commands.unbound,
    "agent.getTree": Commands.unbound,
}


def checked_selection(command: str, params: Params) -> runs_pb2.Selection:
    """What a client subscribes to by this command. Raises CommandFailed."""
    if not isinstance(params.get("channels"), list) or not params["channels"]:
        raise CommandFailed("invalid_argument", f"{command} requires a non-empty channels array.")
    try:
        return selection_of(params)
    except BadSubscription as error:
        raise CommandFailed("invalid_argument", f"{command} received an unsupported channel.") from error


def checked_subscription(params: Params) -> str:
    """The id of a subscription. Raises CommandFailed if there is none."""
    subscription_id = params.get("subscription_id")
    if not isinstance(subscription_id, str) or not subscription_id:
        raise CommandFailed("invalid_argument", "subscription.unsubscribe requires a subscription_id.")
    return subscription_id


def _present(params: Params, *names: str) -> dict[str, Any]:
    return {name: params[name] for name in names if params.get(name) is not None}


def _object(value: Any, name: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise CommandFailed("invalid_argument", f"{name}: must be a JSON object")
    return value or {}


def _strategy(params: Params) -> str:
    for name in ("multitaskStrategy", "multitask_strategy"):
        given = params.get(name)
        if isinstance(given, str) and given in STRATEGIES:
            return given
    return "enqueue"


def _check_fork(configurable: Params) -> None:
    if "checkpoint_id" not in configurable:
        return
    checkpoint_id = configurable["checkpoint_id"]
    if not isinstance(checkpoint_id, str) or not checkpoint_id:
        raise CommandFailed("invalid_argument", "config.configurable.checkpoint_id must be a non-empty string.")
    if canonical_uuid(checkpoint_id) is None:
        raise CommandFailed("invalid_argument", f"Invalid config.configurable.checkpoint_id: {checkpoint_id!r}.")


def _check_tracer(tracer: Any) -> None:
    if tracer is not None and not isinstance(tracer, dict):
        raise CommandFailed("invalid_argument", "langsmith_tracer must be an object.")
    if unknown := sorted(set(tracer or {}) - {"project_name", "example_id"}):
        raise CommandFailed("invalid_argument", f"langsmith_tracer has unsupported fields: {unknown}.")
    for field, value in (tracer or {}).items():
        if value is not None and not isinstance(value, str):
            raise CommandFailed("invalid_argument", f"langsmith_tracer.{field} must be a string.")


def _responses(params: Params) -> dict[str, Any]:
    """Answers by interrupt id, from either form of the command. Raises CommandFailed for neither."""
    many = params.get("responses")
    if not isinstance(many, list):
        _check_answer(params, "input.respond requires an interrupt_id.")
        return {params["interrupt_id"]: params.get("response")}
    if not many:
        raise CommandFailed("invalid_argument", "input.respond requires at least one response.")
    for each in many:
        if not isinstance(each, dict):
            raise CommandFailed("invalid_argument", "input.respond responses entries must be objects.")
        _check_answer(each, "input.respond responses entries require an interrupt_id.")
    return {each["interrupt_id"]: each.get("response") for each in many}


def _check_answer(answer: Params, missing: str) -> None:
    if not isinstance(answer.get("interrupt_id"), str) or not answer["interrupt_id"]:
        raise CommandFailed("invalid_argument", missing)
    namespace = answer.get("namespace")
    if namespace is not None and not (isinstance(namespace, list) and all(isinstance(each, str) for each in namespace)):
        raise CommandFailed("invalid_argument", "input.respond requires namespace to be a list of strings.")


def _is_update(update: Any) -> bool:
    return isinstance(update, dict | list) and bool(update)


def _pending(thread: threads_pb2.Thread) -> frozenset[str]:
    """Ids of the interrupts that the thread waits to be answered."""
    if thread.state == threads_pb2.THREAD_STATE_BUSY:
        return frozenset()
    by_task: dict[str, list[dict[str, Any]]] = orjson.loads(thread.interrupts_json or b"{}")
    return frozenset(interrupt["id"] for of_task in by_task.values() for interrupt in of_task)


def _consumed(interrupt_id: str) -> CommandFailed:
    return CommandFailed("no_such_interrupt", f"Unknown or already-consumed interrupt: {interrupt_id}")
