"""gRPC edge of crons."""

from __future__ import annotations  # the async stubs exist for type checkers only

from datetime import UTC, datetime

from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from threadmill_chassis.grpc_server import Context
from threadmill_chassis.ids import new_id
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import crons_pb2, crons_pb2_grpc
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from threadmill_runs.api.decode import object_of, optional_uuid, page_of, uuid_of
from threadmill_runs.api.encode import timestamp
from threadmill_runs.assistants.repo import AssistantRepo
from threadmill_runs.crons.domain import Cron, CronChange, NewCron, OnRunCompleted, payload_of
from threadmill_runs.crons.repo import CronFilter, CronRepo
from threadmill_runs.crons.scheduler import Scheduler

SORT_COLUMNS = {
    crons_pb2.SearchCronsRequest.SORT_BY_UNSPECIFIED: "created_at",
    crons_pb2.SearchCronsRequest.SORT_BY_CRON_ID: "cron_id",
    crons_pb2.SearchCronsRequest.SORT_BY_ASSISTANT_ID: "assistant_id",
    crons_pb2.SearchCronsRequest.SORT_BY_THREAD_ID: "thread_id",
    crons_pb2.SearchCronsRequest.SORT_BY_NEXT_RUN_TIME: "next_run_at",
    crons_pb2.SearchCronsRequest.SORT_BY_END_TIME: "end_time",
    crons_pb2.SearchCronsRequest.SORT_BY_CREATE_TIME: "created_at",
    crons_pb2.SearchCronsRequest.SORT_BY_UPDATE_TIME: "updated_at",
}
ON_RUN_COMPLETED = {
    OnRunCompleted.DELETE: crons_pb2.ON_RUN_COMPLETED_DELETE,
    OnRunCompleted.KEEP: crons_pb2.ON_RUN_COMPLETED_KEEP,
    None: crons_pb2.ON_RUN_COMPLETED_UNSPECIFIED,
}
OF_PROTO = {proto: value for value, proto in ON_RUN_COMPLETED.items()}


class CronsServicer(crons_pb2_grpc.CronsServicer):
    """Serves threadmill.runs.v1.Crons."""

    def __init__(
        self,
        repo: CronRepo,
        assistants: AssistantRepo,
        threads: threads_pb2_grpc.ThreadsAsyncStub,
        scheduler: Scheduler,
    ) -> None:
        self._repo = repo
        self._assistants = assistants
        self._threads = threads
        self._scheduler = scheduler

    async def CreateCron(self, request: crons_pb2.CreateCronRequest, context: Context) -> crons_pb2.Cron:
        assistant = await self._assistants.resolve(request.assistant_id)
        new = _new_cron(request, assistant.assistant_id)
        if new.thread_id:
            await self._threads.GetThread(threads_pb2.GetThreadRequest(thread_id=new.thread_id))
        cron = await self._repo.create(new)
        self._scheduler.wake()
        return cron_proto(cron)

    async def GetCron(self, request: crons_pb2.GetCronRequest, context: Context) -> crons_pb2.Cron:
        return cron_proto(await self._repo.get(uuid_of(request.cron_id, "cron")))

    async def UpdateCron(self, request: crons_pb2.UpdateCronRequest, context: Context) -> crons_pb2.Cron:
        change = CronChange(
            schedule=request.schedule if request.HasField("schedule") else None,
            timezone=request.timezone if request.HasField("timezone") else None,
            end_time=_moment(request.end_time) if request.HasField("end_time") else None,
            clear_end_time=request.clear_end_time,
            payload_json=object_of(request.payload_json, "payload"),
            metadata_json=object_of(request.metadata_json, "metadata"),
            on_run_completed=OF_PROTO[request.on_run_completed],
            enabled=request.enabled if request.HasField("enabled") else None,
        )
        cron = await self._repo.update(uuid_of(request.cron_id, "cron"), change)
        self._scheduler.wake()
        return cron_proto(cron)

    async def DeleteCron(self, request: crons_pb2.DeleteCronRequest, context: Context) -> Empty:
        await self._repo.delete(uuid_of(request.cron_id, "cron"))
        return Empty()

    async def SearchCrons(
        self, request: crons_pb2.SearchCronsRequest, context: Context
    ) -> crons_pb2.SearchCronsResponse:
        found, has_more = await self._repo.search(
            _filter(request.filter),
            SORT_COLUMNS[request.sort_by],
            *page_of(request.limit, request.offset),
            ascending=request.sort_order == common_pb2.SORT_ORDER_ASCENDING,
        )
        return crons_pb2.SearchCronsResponse(crons=[cron_proto(each) for each in found], has_more=has_more)

    async def CountCrons(self, request: crons_pb2.CountCronsRequest, context: Context) -> crons_pb2.CountCronsResponse:
        return crons_pb2.CountCronsResponse(count=await self._repo.count(_filter(request.filter)))


def _new_cron(request: crons_pb2.CreateCronRequest, assistant_id: str) -> NewCron:
    cron_id = uuid_of(request.cron_id, "cron") if request.cron_id else new_id()
    return NewCron(
        cron_id=cron_id,
        assistant_id=assistant_id,
        thread_id=optional_uuid(request.thread_id, "thread"),
        schedule=request.schedule,
        timezone=request.timezone or None,
        end_time=_moment(request.end_time) if request.HasField("end_time") else None,
        payload_json=payload_of(object_of(request.payload_json, "payload"), cron_id, assistant_id),
        metadata_json=object_of(request.metadata_json, "metadata") or b"{}",
        on_run_completed=None if request.thread_id else OF_PROTO[request.on_run_completed] or OnRunCompleted.DELETE,
        enabled=not request.disabled,
    )


def _moment(proto: Timestamp) -> datetime:
    return proto.ToDatetime(UTC)


def _filter(proto: crons_pb2.CronFilter) -> CronFilter:
    return CronFilter(
        optional_uuid(proto.assistant_id, "assistant"),
        optional_uuid(proto.thread_id, "thread"),
        proto.enabled if proto.HasField("enabled") else None,
        object_of(proto.metadata_json, "metadata"),
    )


def cron_proto(cron: Cron) -> crons_pb2.Cron:
    """A cron as clients may see it."""
    return crons_pb2.Cron(
        cron_id=cron.cron_id,
        assistant_id=cron.assistant_id,
        thread_id=cron.thread_id or "",
        user_id=cron.user_id,
        end_time=timestamp(cron.end_time) if cron.end_time else None,
        schedule=cron.schedule,
        timezone=cron.timezone or "",
        payload_json=cron.payload_json,
        next_run_time=timestamp(cron.next_run_at) if cron.next_run_at else None,
        metadata_json=cron.metadata_json,
        on_run_completed=ON_RUN_COMPLETED[cron.on_run_completed],
        enabled=cron.enabled,
        create_time=timestamp(cron.created_at),
        update_time=timestamp(cron.updated_at),
    )
