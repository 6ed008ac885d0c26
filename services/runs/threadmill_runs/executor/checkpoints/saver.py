"""The checkpointer that graphs are given."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from random import getrandbits
from typing import Any, TypeVar

import grpc
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.threads.v1 import checkpoints_pb2, checkpoints_pb2_grpc, threads_pb2

from threadmill_runs.executor.checkpoints import chunking, wire
from threadmill_runs.executor.checkpoints.bridge import ControlLoopBridge
from threadmill_runs.executor.checkpoints.errors import LeaseLost, ThreadDeleted, is_thread_deleted
from threadmill_runs.executor.checkpoints.head import Head
from threadmill_runs.executor.checkpoints.known_chunks import KnownChunks
from threadmill_runs.executor.checkpoints.outages import CALL_TIMEOUT_SECONDS, through_outages
from threadmill_runs.executor.checkpoints.write_queue import WriteQueue
from threadmill_runs.executor.encoding import encode

T = TypeVar("T")


class GrpcSaver(BaseCheckpointSaver[str]):
    """Keeps checkpoints in the threads service; every method works from any thread and any event loop.

    One saver belongs to one run (with its fence) or to one state operation (without). Values are serialised on the
    calling thread, never on the control loop. Reads see every write queued before them.

    `thread_id`: the run's thread; `thread_is_empty`: it had no checkpoint when the run began, and then needs no read.
    `waits`: writes return when they are durable. Otherwise when they are queued: the run's owner calls `settled` or
    `end` before it tells anybody that the run has ended, and a write that failed shows there, or at the next write.
    `list_bytes`: listings end early, with the checkpoint that reaches so many bytes, for views, which go on from there
    with `before` until nothing comes; 0: never.
    `before_write` is awaited on the control loop before each call that writes, and never fails.

    Raises LeaseLost once the fence is lost (after calling `on_fenced`, once, on the control loop), SaverClosed
    after `close`, CheckpointDeleted if a run's write builds on values that are gone and were never read here,
    grpc.aio.AioRpcError for other refusals and outages.
    """

    def __init__(
        self,
        stub: "checkpoints_pb2_grpc.CheckpointsAsyncStub",
        control_loop: asyncio.AbstractEventLoop,
        *,
        fence: common_pb2.Fence | None = None,
        serde: SerializerProtocol | None = None,
        on_fenced: Callable[[], None] | None = None,
        before_write: Callable[[], Awaitable[None]] | None = None,
        thread_id: str = "",
        thread_is_empty: bool = False,
        waits: bool = True,
        list_bytes: int = 0,
    ) -> None:
        super().__init__(serde=serde or JsonPlusSerializer())  # without a pickle fallback
        self._stub = stub
        self._bridge = ControlLoopBridge(control_loop)
        self._fence = fence
        # Shared with the shallow clones that `with_allowlist` makes, so that their writes keep one order.
        self._known_chunks = KnownChunks()
        self._writes = WriteQueue(
            stub,
            control_loop,
            fence=fence,
            on_fenced=on_fenced,
            before_write=before_write,
            known_chunks=self._known_chunks,
        )
        self._head = Head(known=fence is not None, thread_id=thread_id, is_empty=thread_is_empty)
        self._waits = waits
        self._list_bytes = list_bytes
        # What `look_up` has read, until the graph asks for it: by thread, namespace and id.
        self._looked_up: dict[tuple[str, str, str], checkpoints_pb2.GetCheckpointResponse] = {}

    # For the owner of the run

    @property
    def run_settled(self) -> bool:
        """Whether a read has shown that an earlier attempt ended the run at threads."""
        return self._head.run_settled

    def graph_ended(self) -> None:
        """Its newest checkpoint is read once more, to tell how the run ends: that need not wait for the writes."""
        self._head.is_final = True

    async def settled(self) -> None:
        """Returns when all writes are durable; raises what one failed with, LeaseLost, SaverClosed. Control loop."""
        await self._writes.settled()
        self._writes.check()

    async def end(self, thread_id: str, end: threads_pb2.RunEnd) -> bool:
        """Ends the run at threads together with its last writes; False if threads takes the writes only.

        Raises as `settled`. On the control loop.
        """
        ended = await self._writes.end(thread_id, end)
        self._writes.check()
        return ended

    def close(self) -> None:
        """Makes every further write fail locally: for a run that is abandoned while its user code goes on."""
        self._writes.close()

    async def look_up(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str
    ) -> checkpoints_pb2.ThreadIdentity | None:
        """What says through which graph a thread is to be read; None if it is missing. On the control loop.

        The checkpoint comes in the same call, and is kept for the graph to ask for once.
        """
        request = checkpoints_pb2.GetCheckpointRequest(
            thread_id=thread_id, checkpoint_ns=checkpoint_ns, checkpoint_id=checkpoint_id, with_thread=True
        )
        response = await self._fetch(request)
        self._looked_up[thread_id, checkpoint_ns, checkpoint_id] = response
        return response.thread if response.HasField("thread") else None

    # Reads

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that `config` names, or the latest of its namespace; None if there is none.

        A run that asks for its thread's latest after it has written is answered from what it wrote, once durable.
        """
        where = config["configurable"]
        place = (str(where["thread_id"]), where.get("checkpoint_ns") or "", where.get("checkpoint_id") or "")
        if (looked_up := self._looked_up.pop(place, None)) is not None:
            return self._tuple(looked_up)
        if not where.get("checkpoint_id"):
            thread_id, ns = str(where["thread_id"]), where.get("checkpoint_ns") or ""
            if self._head.has_none(thread_id, ns):
                return None
            if not ns and (newest := await self._newest(thread_id)):
                return wire.to_tuple(self.serde, newest)
        response = await self._bridge.run(lambda: self._get(config))
        return self._tuple(response)

    async def _newest(self, thread_id: str) -> checkpoints_pb2.Checkpoint | None:
        """What the run knows to be its thread's latest; None if it has to ask."""
        newest = self._head.newest(thread_id)
        if newest is None:
            return None
        if not self._head.is_final:
            await self._bridge.run(self._writes.settled)
        self._writes.check_fence()
        return None if self._writes.failed else newest

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `aget_tuple`, blocking."""
        return self._tuple(self._bridge.run_blocking(lambda: self._get(config)))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints that match, newest first; `filter` by containment in the metadata."""
        for stored in await self._bridge.run(lambda: self._list(config, filter, before, limit)):
            yield wire.to_tuple(self.serde, stored)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """As `alist`, blocking."""
        for stored in self._bridge.run_blocking(lambda: self._list(config, filter, before, limit)):
            yield wire.to_tuple(self.serde, stored)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Writes and seed of each channel along the parent chain of a checkpoint, in one call."""
        if not channels:
            return {}
        return self._history(await self._bridge.run(lambda: self._get_history(config, channels)))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `aget_delta_channel_history`, blocking."""
        if not channels:
            return {}
        return self._history(self._bridge.run_blocking(lambda: self._get_history(config, channels)))

    # Writes

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint as the child of the one that `config` names; returns when it is
        durable, or queued (`waits`)."""
        op = wire.put_op(self.serde, config, checkpoint, metadata, new_versions)
        if (stored := self._store(op.put.thread_id, op)) is not None:
            await asyncio.wrap_future(stored)
        return wire.config_of(op.put.thread_id, op.put.checkpoint_ns, op.put.checkpoint_id)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `aput`, blocking."""
        self._bridge.refuse_control_loop()
        op = wire.put_op(self.serde, config, checkpoint, metadata, new_versions)
        if (stored := self._store(op.put.thread_id, op)) is not None:
            stored.result()
        return wire.config_of(op.put.thread_id, op.put.checkpoint_ns, op.put.checkpoint_id)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Stores the writes of one task against a checkpoint; returns when they are durable, or queued."""
        op = wire.writes_op(self.serde, config, writes, task_id, task_path)
        if (stored := self._store(str(config["configurable"]["thread_id"]), op)) is not None:
            await asyncio.wrap_future(stored)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `aput_writes`, blocking."""
        self._bridge.refuse_control_loop()
        op = wire.writes_op(self.serde, config, writes, task_id, task_path)
        if (stored := self._store(str(config["configurable"]["thread_id"]), op)) is not None:
            stored.result()

    def get_next_version(self, current: str | None, channel: None) -> str:
        """A version above `current`: a zero-padded count, so that text order is the order of time, and a random
        part, because two branches of a thread count alike and their blobs must not collide."""
        count = int(str(current).split(".", 1)[0]) if current is not None else 0
        return f"{count + 1:032d}.{getrandbits(64):016x}"

    def _store(self, thread_id: str, op: wire.Op) -> Future[None] | None:
        """Queues an operation; what the caller has to wait for, if anything: until it is durable, or there is room."""
        queue = self._writes.submit if self._waits else self._writes.enqueue
        base = self._head.base_of(op.put) if op.HasField("put") else None
        stored = queue(thread_id, *chunking.split(op), base)
        if op.HasField("put"):
            self._head.put(op.put)
        else:
            self._head.write(thread_id, op.writes)
        return stored

    # Whole threads

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread; the thread itself stays."""
        await self._bridge.run(lambda: self._delete_thread(thread_id))

    def delete_thread(self, thread_id: str) -> None:
        """As `adelete_thread`, blocking."""
        self._bridge.run_blocking(lambda: self._delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes the checkpoints that these runs made."""
        await self._bridge.run(lambda: self._delete_for_runs(run_ids))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `adelete_for_runs`, blocking."""
        self._bridge.run_blocking(lambda: self._delete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies the whole history of a thread, same checkpoint ids."""
        await self._bridge.run(lambda: self._copy_thread(source_thread_id, target_thread_id))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `acopy_thread`, blocking."""
        self._bridge.run_blocking(lambda: self._copy_thread(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Drops all but the latest checkpoint of each namespace (`keep_latest`), or everything (`delete`)."""
        await self._bridge.run(lambda: self._prune(thread_ids, strategy))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `aprune`, blocking."""
        self._bridge.run_blocking(lambda: self._prune(thread_ids, strategy))

    # The calls, all on the control loop

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        """One call, after the writes queued before it; a lost fence becomes LeaseLost, a lost thread ThreadDeleted."""
        await self._writes.settled()
        try:
            return await through_outages(call)
        except grpc.aio.AioRpcError as error:
            if reason_of(error) == LeaseLost.reason:
                raise self._writes.fenced() from error
            if self._fence is not None and is_thread_deleted(error):
                raise ThreadDeleted from error
            raise

    def _get(self, config: RunnableConfig) -> Coroutine[Any, Any, checkpoints_pb2.GetCheckpointResponse]:
        where = config["configurable"]
        request = checkpoints_pb2.GetCheckpointRequest(
            thread_id=str(where["thread_id"]),
            checkpoint_ns=where.get("checkpoint_ns") or "",
            checkpoint_id=where.get("checkpoint_id") or "",
            fence=self._fence,
        )

        return self._fetch(request)

    async def _fetch(self, request: checkpoints_pb2.GetCheckpointRequest) -> checkpoints_pb2.GetCheckpointResponse:
        response = await self._call(
            lambda: self._stub.GetCheckpoint(request, timeout=CALL_TIMEOUT_SECONDS, wait_for_ready=True)
        )
        self._head.run_settled |= response.run_settled
        if response.HasField("checkpoint"):
            self._known_chunks.saw(request.thread_id, response.chunk_epoch, response.checkpoint)
            self._head.saw(request, response.checkpoint)
        return response

    async def _list(
        self,
        config: RunnableConfig | None,
        metadata: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Sequence[checkpoints_pb2.Checkpoint]:
        """All that match at once: a stream would tie the control loop to the pace of user code."""
        if limit is not None and limit <= 0:
            return []
        where = config["configurable"] if config else {}
        request = checkpoints_pb2.ListCheckpointsRequest(
            thread_id=str(where.get("thread_id") or ""),
            checkpoint_ns=where.get("checkpoint_ns"),
            checkpoint_id=where.get("checkpoint_id") or "",
            before_checkpoint_id=(before["configurable"].get("checkpoint_id") or "") if before else "",
            metadata_json=encode(metadata) if metadata else b"",
            limit=limit or 0,
            max_bytes=self._list_bytes,
        )

        async def collect() -> Sequence[checkpoints_pb2.Checkpoint]:
            stream = self._stub.ListCheckpoints(request, timeout=CALL_TIMEOUT_SECONDS, wait_for_ready=True)
            return [stored async for stored in stream]

        return await self._call(collect)

    def _get_history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> Coroutine[Any, Any, checkpoints_pb2.GetChannelHistoryResponse]:
        where = config["configurable"]
        request = checkpoints_pb2.GetChannelHistoryRequest(
            thread_id=str(where["thread_id"]),
            checkpoint_ns=where.get("checkpoint_ns") or "",
            checkpoint_id=where.get("checkpoint_id") or "",
            channels=channels,
        )
        return self._call(
            lambda: self._stub.GetChannelHistory(request, timeout=CALL_TIMEOUT_SECONDS, wait_for_ready=True)
        )

    async def _delete_thread(self, thread_id: str) -> None:
        request = checkpoints_pb2.DeleteCheckpointsRequest(thread_id=str(thread_id))
        await self._call(lambda: self._stub.DeleteCheckpoints(request, timeout=CALL_TIMEOUT_SECONDS))

    async def _delete_for_runs(self, run_ids: Sequence[str]) -> None:
        request = checkpoints_pb2.DeleteCheckpointsForRunsRequest(run_ids=[str(run_id) for run_id in run_ids])
        await self._call(lambda: self._stub.DeleteCheckpointsForRuns(request, timeout=CALL_TIMEOUT_SECONDS))

    async def _copy_thread(self, source: str, target: str) -> None:
        request = checkpoints_pb2.CopyCheckpointsRequest(source_thread_id=str(source), target_thread_id=str(target))
        await self._call(lambda: self._stub.CopyCheckpoints(request, timeout=CALL_TIMEOUT_SECONDS))

    async def _prune(self, thread_ids: Sequence[str], strategy: str) -> None:
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"unknown pruning strategy {strategy!r}: expected 'keep_latest' or 'delete'")
        request = checkpoints_pb2.PruneCheckpointsRequest(
            thread_ids=[str(thread_id) for thread_id in thread_ids], delete_all=strategy == "delete"
        )
        await self._call(lambda: self._stub.PruneCheckpoints(request, timeout=CALL_TIMEOUT_SECONDS))

    def _tuple(self, response: checkpoints_pb2.GetCheckpointResponse) -> CheckpointTuple | None:
        return wire.to_tuple(self.serde, response.checkpoint) if response.HasField("checkpoint") else None

    def _history(self, response: checkpoints_pb2.GetChannelHistoryResponse) -> Mapping[str, DeltaChannelHistory]:
        return {channel.channel: wire.to_history(self.serde, channel) for channel in response.channels}
