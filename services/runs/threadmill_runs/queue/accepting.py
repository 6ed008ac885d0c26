"""Accepting a run: assistant resolved, thread marked busy, strategy applied, row in the queue."""

from __future__ import annotations  # the async stubs exist for type checkers only

from math import isfinite
from typing import Any
from uuid import UUID, uuid5

import orjson
import structlog
from threadmill_chassis.errors import InvalidArgument
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from threadmill_runs.assistants.domain import Assistant
from threadmill_runs.assistants.repo import AssistantRepo, is_uuid
from threadmill_runs.errors import RunNotFound, ThreadBusy
from threadmill_runs.queue.cancelling import Canceller
from threadmill_runs.queue.ending import RunEnder
from threadmill_runs.queue.repo import BUSY, QueueRepo
from threadmill_runs.queue.run import CancelAction, NewRun, Run, Strategy
from threadmill_runs.queue.signals import Signals

log = structlog.get_logger(__name__)

# Centuries ahead or back mean a caller's mistake, and are beyond what Postgres can add to a date.
LONGEST_DELAY_SECONDS = 100 * 366 * 86_400

STRATEGIES = {
    runs_pb2.MULTITASK_STRATEGY_UNSPECIFIED: Strategy.ENQUEUE,
    runs_pb2.MULTITASK_STRATEGY_ENQUEUE: Strategy.ENQUEUE,
    runs_pb2.MULTITASK_STRATEGY_REJECT: Strategy.REJECT,
    runs_pb2.MULTITASK_STRATEGY_INTERRUPT: Strategy.INTERRUPT,
    runs_pb2.MULTITASK_STRATEGY_ROLLBACK: Strategy.ROLLBACK,
}
SUPERSEDING = {Strategy.INTERRUPT: CancelAction.INTERRUPT, Strategy.ROLLBACK: CancelAction.ROLLBACK}


class Acceptor:
    """Creates runs. Safe to repeat with the same run id: the second call answers the first's run."""

    def __init__(
        self,
        assistants: AssistantRepo,
        repo: QueueRepo,
        threads: threads_pb2_grpc.ThreadsAsyncStub,
        canceller: Canceller,
        ender: RunEnder,
        signals: Signals,
    ) -> None:
        self._assistants = assistants
        self._repo = repo
        self._threads = threads
        self._canceller = canceller
        self._ender = ender
        self._signals = signals

    async def accept(self, request: runs_pb2.CreateRunRequest) -> Run:
        """Queues a run.

        Raises InvalidArgument, InvalidAssistant, AssistantNotFound, ThreadBusy, and threads' THREAD_NOT_FOUND;
        RunNotFound for a repeated call whose run has ended and left nothing behind.
        """
        check(request)
        if request.run_id and (known := await self._repo.get(request.run_id)) is not None:
            return await self._repeated(known)
        assistant = await self._assistants.resolve(request.assistant_id)
        merged = _merged_config(request, assistant)
        stateless = not request.thread_id
        run_id = request.run_id or new_id()
        strategy = Strategy.ENQUEUE if stateless else STRATEGIES[request.multitask_strategy]
        thread_id = thread_of(request, run_id)
        if strategy is Strategy.REJECT and await self._other_active(thread_id, run_id):
            raise ThreadBusy(BUSY)
        thread = await self._begin(request, assistant, thread_id, run_id)
        new = _new_run(request, assistant, merged, thread, run_id, strategy, stateless=stateless)
        try:
            run, active = await self._repo.insert(new)
        except (InvalidArgument, ThreadBusy, RunNotFound):
            await self._abandon(new)
            raise
        if active and strategy in SUPERSEDING:
            await self._canceller.cancel(active, SUPERSEDING[strategy], f"superseded by run {run_id}")
        log.info("run_created", run_id=run_id, thread_id=thread_id, graph_id=run.graph_id, strategy=strategy.value)
        await self._signals.wake()
        return run

    async def _repeated(self, run: Run) -> Run:
        """The run that the first call has accepted; that call may have died before it cancelled what was older."""
        if run.state.active and run.strategy in SUPERSEDING:
            active = await self._repo.active_run_ids(run.thread_id)
            older = active[: active.index(run.run_id)] if run.run_id in active else []
            if older:
                await self._canceller.cancel(older, SUPERSEDING[run.strategy], f"superseded by run {run.run_id}")
        return run

    async def _other_active(self, thread_id: str, run_id: str) -> bool:
        return any(active != run_id for active in await self._repo.active_run_ids(thread_id))

    async def _begin(
        self, request: runs_pb2.CreateRunRequest, assistant: Assistant, thread_id: str, run_id: str
    ) -> threads_pb2.Thread:
        stamp = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
        response = await self._threads.BeginRun(
            threads_pb2.BeginRunRequest(
                thread_id=thread_id,
                run_id=run_id,
                create_if_missing=request.create_thread_if_missing or not request.thread_id,
                stamp_metadata_json=orjson.dumps(stamp),
                new_thread_metadata_json=request.metadata_json,
                config_json=orjson.dumps(_merged_config(request, assistant)[0]),
            )
        )
        return response.thread

    async def _abandon(self, new: NewRun) -> None:
        """Takes back `_begin` of a run that was refused. Should this replica die first, the reconciler does it."""
        await self._threads.EndRun(
            threads_pb2.EndRunRequest(
                thread_id=new.thread_id,
                fence={"run_id": new.run_id, "token": 0},  # type: ignore[arg-type]  # protobuf takes dicts for messages
                resting=threads_pb2.RestingState(),
                delete_thread=new.stateless,
            )
        )


def thread_of(request: runs_pb2.CreateRunRequest, run_id: str) -> str:
    """The run's thread: the one that is named, or its own, which a repeated call must find again.

    A thread that disappears with its run has the run's id, by which the reconciler knows it; one that is kept has not.
    """
    if request.thread_id:
        return request.thread_id
    return str(uuid5(UUID(run_id), "thread")) if request.keep_on_completion else run_id


def check(request: runs_pb2.CreateRunRequest) -> None:
    """Refuses what would fail later as an internal error, and brings ids into one spelling. Raises InvalidArgument."""
    for name, kind in (("run_id", "run"), ("thread_id", "thread")):
        text = getattr(request, name)
        if text and not is_uuid(text):
            raise InvalidArgument(f"Invalid {kind} ID")
        setattr(request, name, str(UUID(text)) if text else "")
    for name in ("config_json", "context_json", "metadata_json", "checkpoint_json", "header_configurable_json"):
        _check_object(getattr(request, name), name.removesuffix("_json"))
    if not isfinite(request.after_seconds) or abs(request.after_seconds) > LONGEST_DELAY_SECONDS:
        raise InvalidArgument("after_seconds: must be at most 100 years")
    if request.feedback_keys:
        raise InvalidArgument("feedback_keys: this server has no LangSmith that could make URLs for them")


def _check_object(json: bytes, name: str) -> None:
    try:
        wrong = json and not isinstance(orjson.loads(json), dict)
    except orjson.JSONDecodeError:
        wrong = True
    if wrong:
        raise InvalidArgument(f"{name}: must be a JSON object")


def _new_run(
    request: runs_pb2.CreateRunRequest,
    assistant: Assistant,
    merged: tuple[dict[str, Any], dict[str, Any]],
    thread: threads_pb2.Thread,
    run_id: str,
    strategy: Strategy,
    *,
    stateless: bool,
) -> NewRun:
    metadata = {
        **orjson.loads(assistant.metadata_json),
        **({} if stateless else orjson.loads(thread.metadata_json or b"{}")),
        **(merged[0].get("metadata") or {}),
        **orjson.loads(request.metadata_json or b"{}"),
        "assistant_id": assistant.assistant_id,
    }
    if not stateless:
        metadata["graph_id"] = assistant.graph_id
    return NewRun(
        run_id=run_id,
        thread_id=thread.thread_id,
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        metadata_json=orjson.dumps(metadata),
        kwargs_json=_kwargs(request, assistant, merged, thread.thread_id, run_id, metadata, stateless=stateless),
        strategy=strategy,
        stateless=stateless,
        keep_thread=request.keep_on_completion or not stateless,
        request_id=request.request_id,
        after_seconds=request.after_seconds,
    )


def _kwargs(
    request: runs_pb2.CreateRunRequest,
    assistant: Assistant,
    merged: tuple[dict[str, Any], dict[str, Any]],
    thread_id: str,
    run_id: str,
    metadata: dict[str, Any],
    *,
    stateless: bool,
) -> bytes:
    """The document that clients see as `kwargs` and the executor runs; the input passes through undecoded."""
    config, context = merged
    config["configurable"] = {
        "user_id": "",
        **orjson.loads(request.header_configurable_json or b"{}"),
        **config.get("configurable", {}),
        # Tells the executor that what `context` mirrors here is to be cut down to what the graph declares.
        **({"__context_provided__": True} if request.context_json not in (b"", b"{}", b"null") else {}),
        **orjson.loads(request.checkpoint_json or b"{}"),
        "thread_id": thread_id,
        "run_id": run_id,
        "graph_id": assistant.graph_id,
        "assistant_id": assistant.assistant_id,
        "langgraph_request_id": request.request_id or None,
        "langgraph_auth_user": None,
        "langgraph_auth_user_id": "",
        "langgraph_auth_permissions": [],
    }
    config["metadata"] = metadata
    durability = request.durability or (
        "exit" if request.checkpoint_during is False and request.HasField("checkpoint_during") else "async"
    )
    return orjson.dumps(
        {
            "input": _fragment(request.input_json),
            "command": _fragment(request.command_json),
            "config": config,
            "context": context,
            "stream_mode": list(request.stream_modes) or ["values"],
            "interrupt_before": _fragment(request.interrupt_before_json),
            "interrupt_after": _fragment(request.interrupt_after_json),
            "webhook": request.webhook or None,
            "feedback_keys": list(request.feedback_keys) or None,
            "temporary": stateless and not request.keep_on_completion,
            "subgraphs": request.stream_subgraphs,
            "resumable": request.stream_resumable,
            "checkpoint_during": request.checkpoint_during or not request.HasField("checkpoint_during"),
            "durability": durability,
        }
    )


def _merged_config(request: runs_pb2.CreateRunRequest, assistant: Assistant) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and context of the run: the assistant's as defaults, `configurable` and `context` merged by key."""
    config: dict[str, Any] = orjson.loads(request.config_json or b"{}")
    context: dict[str, Any] = orjson.loads(request.context_json or b"{}")
    configurable: dict[str, Any] = config.get("configurable") or {}
    if context and configurable:
        raise InvalidArgument("Cannot specify both configurable and context. Prefer setting context alone.")
    defaults: dict[str, Any] = orjson.loads(assistant.config_json)
    base_context: dict[str, Any] = orjson.loads(assistant.context_json)
    # `configurable` and `context` mirror each other, in the assistant and in the run.
    merged_context = {**base_context, **configurable, **context}
    merged = {**defaults, **config}
    merged["configurable"] = {**(defaults.get("configurable") or {}), **configurable, **context}
    return merged, merged_context


def _fragment(json: bytes) -> orjson.Fragment | None:
    return orjson.Fragment(json) if json else None
