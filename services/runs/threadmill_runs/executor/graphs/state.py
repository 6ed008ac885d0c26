"""State questions: reading, updating and listing the history of a thread's state through its graph."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore
from langgraph.types import StateSnapshot, StateUpdate
from threadmill_protos.threads.v1 import checkpoints_pb2

from threadmill_runs.executor.checkpoints.saver import GrpcSaver
from threadmill_runs.executor.graphs.errors import CheckpointNotFound, ThreadNotFound
from threadmill_runs.executor.graphs.factory import Access
from threadmill_runs.executor.graphs.registry import AnyPregel, GraphRegistry
from threadmill_runs.executor.graphs.state_view import checkpoint_ref, thread_state

Json = dict[str, Any]
_CHECKPOINT_KEYS = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")
# A page of a history; the checkpointer ends it earlier when its states are large.
PAGE_STATES = 100
PAGE_BYTES = 2 * 1024 * 1024


# Makes a checkpointer without a fence, for one operation.
SaverFactory = Callable[[], GrpcSaver]


@dataclass(frozen=True, slots=True)
class Subject:
    """A thread's state, seen through one graph with an assistant's config."""

    graph_id: str
    config: Mapping[str, Any]
    thread_id: str

    @classmethod
    def of(cls, thread_id: str, identity: checkpoints_pb2.ThreadIdentity) -> "Subject | None":
        """As a thread says by itself; None if neither a run nor a client has named a graph yet.

        The configs of its runs may name the checkpoint that one of them started from, which is not the state's.
        """
        graph_id = orjson.loads(identity.metadata_json or b"{}").get("graph_id")
        if not isinstance(graph_id, str) or not graph_id:
            return None
        config = orjson.loads(identity.config_json or b"{}")
        configurable = {
            key: value for key, value in (config.get("configurable") or {}).items() if key not in _CHECKPOINT_KEYS
        }
        return cls(graph_id, {**config, "configurable": configurable}, thread_id)

    def at(self, checkpoint: Mapping[str, Any] | None = None, **configurable: str) -> RunnableConfig:
        """Config that names a checkpoint of the thread: the one given, else the latest of the root."""
        named = {key: checkpoint[key] for key in _CHECKPOINT_KEYS if checkpoint and checkpoint.get(key)}
        return {
            "tags": list(self.config.get("tags") or []),
            "metadata": {"graph_id": self.graph_id},
            "configurable": {
                **(self.config.get("configurable") or {}),
                **configurable,
                "thread_id": self.thread_id,
                "checkpoint_ns": "",
                **named,
            },
        }


class ThreadStates:
    """Runs on a user loop: every method opens the graph, which may call the user's factory."""

    def __init__(self, registry: GraphRegistry, saver_factory: SaverFactory, store: BaseStore | None) -> None:
        self._registry = registry
        self._saver_factory = saver_factory
        self._store = store

    async def look_up(self, thread_id: str, checkpoint: Mapping[str, Any] | None) -> tuple[Subject | None, GrpcSaver]:
        """How a thread is to be read, as it says by itself, and a checkpointer that has read its checkpoint with that.

        Raises ThreadNotFound. On the control loop.
        """
        saver = self._saver_factory()
        named = checkpoint or {}
        ns, checkpoint_id = str(named.get("checkpoint_ns") or ""), str(named.get("checkpoint_id") or "")
        identity = await saver.look_up(thread_id, ns, checkpoint_id)
        if identity is None:
            raise ThreadNotFound(f"Thread with ID {thread_id} not found")
        return Subject.of(thread_id, identity), saver

    async def snapshot(
        self,
        subject: Subject,
        checkpoint: Mapping[str, Any] | None = None,
        saver: BaseCheckpointSaver[str] | None = None,
        *,
        subgraphs: bool = False,
    ) -> StateSnapshot:
        """The state at a checkpoint, or the latest: one read of the checkpointer, more only for nested states."""
        config = subject.at(checkpoint)
        async with self._open(subject, config, "threads.read", saver or self._saver_factory()) as graph:
            return await graph.aget_state(config, subgraphs=subgraphs)

    async def history(
        self,
        subject: Subject,
        *,
        checkpoint: Mapping[str, Any] | None,
        before: Mapping[str, Any] | None,
        metadata: Json | None,
        limit: int,
    ) -> AsyncGenerator[list[Json], None]:
        """Past states, newest first, as REST shows them: pages, each read when it is asked for, and none empty."""
        config = subject.at(checkpoint)
        bound: RunnableConfig | None = {"configurable": dict(before)} if before else None
        left = min(limit, 1) if config["configurable"].get("checkpoint_id") else limit
        async with self._open(subject, config, "threads.read", self._saver_factory()) as graph:
            while left > 0:
                size = min(left, PAGE_STATES)
                past = graph.aget_state_history(config, filter=metadata, before=bound, limit=size)
                page = [snapshot async for snapshot in past]
                if not page:
                    return
                yield [thread_state(state) for state in page]
                left -= len(page)
                bound = {"configurable": {"checkpoint_id": page[-1].config["configurable"]["checkpoint_id"]}}

    async def update(
        self,
        subject: Subject,
        supersteps: list[list[StateUpdate]],
        checkpoint: Mapping[str, Any] | None,
        saver: BaseCheckpointSaver[str],
    ) -> tuple[Json, StateSnapshot]:
        """Applies updates without running a node; gives REST's answer and the thread's latest state after it.

        `saver` takes the writes, and must show them to its readers: this reads through it alone. Raises
        CheckpointNotFound: LangGraph would take a missing checkpoint for an empty state and lose all of the thread's.
        """
        config = subject.at(checkpoint, graph_id=subject.graph_id)
        named = config["configurable"].get("checkpoint_id")
        if named and await saver.aget_tuple(config) is None:
            raise CheckpointNotFound(f"Checkpoint {named} not found in thread {subject.thread_id}")
        async with self._open(subject, config, "threads.update", saver) as graph:
            updated = await graph.abulk_update_state(config, supersteps)
        reference = checkpoint_ref(updated) or {}
        order = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
        written = {key: reference[key] for key in order if key in reference}
        answer = {"checkpoint": written, "configurable": written, "checkpoint_id": written.get("checkpoint_id")}
        return answer, await self.snapshot(subject, None, saver)

    def _open(
        self, subject: Subject, config: RunnableConfig, access: Access, saver: BaseCheckpointSaver[str]
    ) -> AbstractAsyncContextManager[AnyPregel]:
        return self._registry.open(
            subject.graph_id, config=config, access=access, context=None, checkpointer=saver, store=self._store
        )
