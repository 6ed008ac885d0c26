"""The gRPC edge of threads."""

# ruff: noqa: N802 - the methods are named by the protos

from typing import Any, TypeAlias
from uuid import uuid4

import grpc
from google.protobuf import empty_pb2
from threadmill_chassis.errors import InvalidArgument
from threadmill_chassis.ids import new_id
from threadmill_protos.threads.v1 import threads_pb2 as pb
from threadmill_protos.threads.v1 import threads_pb2_grpc

from threadmill_threads import decoding, encoding
from threadmill_threads.domain import RunBeginning, RunEnding, ThreadId
from threadmill_threads.errors import ThreadNotFound
from threadmill_threads.threads_repo import ThreadsRepo

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
FIRST_THREAD = "00000000-0000-0000-0000-000000000000"


class ThreadsApi(threads_pb2_grpc.ThreadsServicer):
    """Serves threadmill.threads.v1.Threads."""

    def __init__(self, repo: ThreadsRepo) -> None:
        self._repo = repo

    async def CreateThread(self, request: pb.CreateThreadRequest, context: Context) -> pb.Thread:
        """See the proto."""
        row = await self._repo.create(
            decoding.thread_id(request.thread_id or new_id()),
            decoding.json_object(request.metadata_json, "metadata") or decoding.EMPTY,
            decoding.ttl(request.ttl) if request.HasField("ttl") else None,
            keep_existing=request.if_exists == pb.IF_EXISTS_DO_NOTHING,
        )
        return encoding.thread(row)

    async def GetThread(self, request: pb.GetThreadRequest, context: Context) -> pb.Thread:
        """See the proto."""
        row = await self._repo.get(decoding.thread_id(request.thread_id))
        return encoding.thread(row, include_ttl=request.include_ttl)

    async def UpdateThread(self, request: pb.UpdateThreadRequest, context: Context) -> pb.Thread:
        """See the proto."""
        row = await self._repo.update(
            decoding.thread_id(request.thread_id),
            decoding.json_object(request.metadata_json, "metadata") or decoding.EMPTY,
            decoding.ttl_minutes(request.ttl) if request.HasField("ttl") else None,
            decoding.strategy(request.ttl.strategy) if request.ttl.strategy else None,
        )
        return encoding.thread(row)

    async def DeleteThread(self, request: pb.DeleteThreadRequest, context: Context) -> empty_pb2.Empty:
        """See the proto."""
        thread_id = decoding.thread_id(request.thread_id)
        if not await self._repo.delete([thread_id]):
            raise ThreadNotFound.of(thread_id)
        return empty_pb2.Empty()

    async def CopyThread(self, request: pb.CopyThreadRequest, context: Context) -> pb.Thread:
        """See the proto; the copy's id is a UUIDv4, as on the reference."""
        return encoding.thread(await self._repo.copy(decoding.thread_id(request.thread_id), ThreadId(uuid4())))

    async def SearchThreads(self, request: pb.SearchThreadsRequest, context: Context) -> pb.SearchThreadsResponse:
        """See the proto."""
        page = await self._repo.search(decoding.search(request))
        return pb.SearchThreadsResponse(threads=map(encoding.thread, page.threads), has_more=page.has_more)

    async def CountThreads(self, request: pb.CountThreadsRequest, context: Context) -> pb.CountThreadsResponse:
        """See the proto."""
        return pb.CountThreadsResponse(count=await self._repo.count(decoding.thread_filter(request.filter)))

    async def PruneThreads(self, request: pb.PruneThreadsRequest, context: Context) -> pb.PruneThreadsResponse:
        """See the proto."""
        pruned = await self._repo.prune(decoding.thread_ids(request.thread_ids), decoding.strategy(request.strategy))
        return pb.PruneThreadsResponse(pruned_count=pruned)

    async def GetThreadStorage(self, request: pb.GetThreadStorageRequest, context: Context) -> pb.ThreadStorage:
        """See the proto."""
        return encoding.storage(await self._repo.storage(decoding.thread_id(request.thread_id)))

    async def BeginRun(self, request: pb.BeginRunRequest, context: Context) -> pb.BeginRunResponse:
        """See the proto."""
        run = RunBeginning(
            run_id=decoding.run_id(request.run_id),
            create_if_missing=request.create_if_missing,
            stamp=decoding.json_object(request.stamp_metadata_json, "stamp_metadata") or decoding.EMPTY,
            new_metadata=decoding.json_object(request.new_thread_metadata_json, "metadata") or decoding.EMPTY,
            config=decoding.json_object(request.config_json, "config") or decoding.EMPTY,
            config_defaults=decoding.json_object(request.config_defaults_json, "config_defaults") or decoding.EMPTY,
        )
        begun = await self._repo.begin_run(decoding.thread_id(request.thread_id), run)
        return pb.BeginRunResponse(thread=encoding.thread(begun.thread), created=begun.created, is_empty=begun.is_empty)

    async def EndRun(self, request: pb.EndRunRequest, context: Context) -> empty_pb2.Empty:
        """See the proto."""
        if request.fence.token < 0:
            raise InvalidArgument("fence.token must not be negative")
        run = RunEnding(
            run_id=decoding.run_id(request.fence.run_id),
            token=request.fence.token,
            resting=decoding.resting(request.resting),
            stamp=decoding.json_object(request.stamp_metadata_json, "stamp_metadata"),
            delete_thread=request.delete_thread,
            delete_checkpoints=request.delete_checkpoints,
        )
        await self._repo.end_run(decoding.thread_id(request.thread_id), run)
        return empty_pb2.Empty()

    async def ListActiveRuns(self, request: pb.ListActiveRunsRequest, context: Context) -> pb.ListActiveRunsResponse:
        """See the proto."""
        if not request.min_age_seconds >= 0:
            raise InvalidArgument("min_age_seconds must not be negative")
        runs = await self._repo.active_runs(
            request.min_age_seconds,
            decoding.limit(request.limit, default=100),
            decoding.thread_id(request.after_thread_id or FIRST_THREAD),
        )
        return pb.ListActiveRunsResponse(
            active_runs=[
                pb.ListActiveRunsResponse.ActiveRun(thread_id=str(run.thread_id), run_id=str(run.run_id))
                for run in runs
            ]
        )
