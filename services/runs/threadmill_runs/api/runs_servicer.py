"""gRPC edge of runs."""

from __future__ import annotations  # the async stubs exist for type checkers only

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import structlog
from google.protobuf.empty_pb2 import Empty
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential
from threadmill_chassis.errors import InvalidArgument, Unavailable
from threadmill_chassis.grpc_server import Context
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import runs_pb2, runs_pb2_grpc
from threadmill_protos.threads.v1 import threads_pb2_grpc

from threadmill_runs.api.decode import object_of, optional_uuid, page_of, uuid_of
from threadmill_runs.api.encode import ACTION_OF_PROTO, RUN_STATES, STATE_OF_PROTO, run_proto
from threadmill_runs.api.outcome import WaitedOutcome
from threadmill_runs.assistants.repo import AssistantRepo
from threadmill_runs.crons.repo import CronRepo
from threadmill_runs.errors import RunNotFound
from threadmill_runs.events.active_runs import ActiveRuns
from threadmill_runs.events.follow import follow, mode_filter
from threadmill_runs.events.hub import Hub, Subscription
from threadmill_runs.events.log import END_EVENT, START, EventId
from threadmill_runs.events.thread_stream import ThreadStreams
from threadmill_runs.queue.accepting import Acceptor, check, thread_of
from threadmill_runs.queue.cancelling import Canceller
from threadmill_runs.queue.dispatcher import Dispatcher
from threadmill_runs.queue.repo import QueueRepo, RunFilter
from threadmill_runs.queue.run import CancelAction, Run, RunState

log = structlog.get_logger(__name__)

DISCONNECTED = "client disconnected from the run stream (on_disconnect=cancel)"


class RunsServicer(runs_pb2_grpc.RunsServicer):
    """Serves threadmill.runs.v1.Runs."""

    def __init__(
        self,
        acceptor: Acceptor,
        repo: QueueRepo,
        canceller: Canceller,
        assistants: AssistantRepo,
        hub: Hub,
        thread_streams: ThreadStreams,
        dispatcher: Dispatcher,
        threads: threads_pb2_grpc.ThreadsAsyncStub,
        crons: CronRepo,
        active_runs: ActiveRuns,
    ) -> None:
        self._acceptor = acceptor
        self._repo = repo
        self._canceller = canceller
        self._assistants = assistants
        self._hub = hub
        self._thread_streams = thread_streams
        self._dispatcher = dispatcher
        self._threads = threads
        self._crons = crons
        self._active_runs = active_runs
        self._cancelling: set[asyncio.Task[None]] = set()
        # Set when the process is told to stop.
        self.stopping = False

    async def CreateRun(self, request: runs_pb2.CreateRunRequest, context: Context) -> runs_pb2.Run:
        return run_proto(await self._acceptor.accept(request))

    async def GetRun(self, request: runs_pb2.GetRunRequest, context: Context) -> runs_pb2.Run:
        return run_proto(await self._find(request.run))

    async def _find(self, ref: runs_pb2.RunRef) -> Run:
        run = await self._repo.get(uuid_of(ref.run_id, "run"), optional_uuid(ref.thread_id, "thread"))
        if run is None:
            raise RunNotFound("Run not found")
        return run

    async def ListRuns(self, request: runs_pb2.ListRunsRequest, context: Context) -> runs_pb2.ListRunsResponse:
        limit, offset = page_of(request.limit, request.offset)
        assistant = await self._assistants.resolve(request.assistant_id) if request.assistant_id else None
        wanted = RunFilter(
            optional_uuid(request.thread_id, "thread"),
            STATE_OF_PROTO.get(request.state),
            assistant.assistant_id if assistant else None,
            object_of(request.metadata_json, "metadata"),
        )
        runs = await self._repo.search(wanted, limit, offset)
        return runs_pb2.ListRunsResponse(runs=[run_proto(run) for run in runs])

    async def CancelRuns(self, request: runs_pb2.CancelRunsRequest, context: Context) -> runs_pb2.CancelRunsResponse:
        action = ACTION_OF_PROTO[request.action]
        if request.run_ids:
            run_ids = [uuid_of(run_id, "run") for run_id in request.run_ids]
            thread_id = optional_uuid(request.thread_id, "thread")
            runs = await self._canceller.cancel_named(thread_id, run_ids, action, request.reason)
        elif request.states:
            states = [STATE_OF_PROTO[state] for state in request.states if state in STATE_OF_PROTO]
            runs = await self._canceller.cancel_all(states, action, request.reason)
        else:
            raise InvalidArgument("name runs or states to cancel")
        return runs_pb2.CancelRunsResponse(run_ids=[run.run_id for run in runs])

    async def DeleteRun(self, request: runs_pb2.DeleteRunRequest, context: Context) -> Empty:
        ref = request.run
        await self._canceller.delete(uuid_of(ref.run_id, "run"), optional_uuid(ref.thread_id, "thread"))
        return Empty()

    async def DeleteThreadRuns(self, request: runs_pb2.DeleteThreadRunsRequest, context: Context) -> Empty:
        thread_id = uuid_of(request.thread_id, "thread")
        await self._crons.delete_of_thread(thread_id)  # first: they must create no more runs
        await self._canceller.delete_of_thread(thread_id)
        return Empty()

    async def StreamRun(
        self, request: runs_pb2.StreamRunRequest, context: Context
    ) -> AsyncIterator[runs_pb2.StreamRunResponse]:
        creating = request.WhichOneof("target") == "create"
        wanted = mode_filter(request.stream_modes)
        if request.continue_after:
            async for response in self._continued(request, wanted):
                yield response
            return
        existing = None if creating else await self._find(request.run)
        async with self._watching(request.create if creating else None, existing) as (run, subscription):
            ended = False
            if existing is not None:
                replay = _replay_from(existing, request.last_event_id)
                await subscription.start(replay)
                current = await self._repo.get(run.run_id)  # it may have ended before we were subscribed
                ended = replay is None and (current is None or not current.state.active)
            async with self._cancelling_when_left(run.run_id, request.cancel_on_disconnect):
                yield runs_pb2.StreamRunResponse(run=run_proto(run))
                if ended:
                    return
                async for response in self._shown(run.run_id, subscription, wanted):
                    yield response

    async def _continued(
        self, request: runs_pb2.StreamRunRequest, wanted: Callable[[runs_pb2.Event], bool]
    ) -> AsyncIterator[runs_pb2.StreamRunResponse]:
        """The rest of a stream that another replica has begun; the run may have ended, and be gone, meanwhile."""
        run_id = uuid_of(request.run.run_id, "run")
        thread_id = optional_uuid(request.run.thread_id, "thread") or (await self._find(request.run)).thread_id
        async with (
            self._hub.subscribe(thread_id) as subscription,
            self._cancelling_when_left(run_id, request.cancel_on_disconnect),
        ):
            await subscription.start(EventId.parse(request.continue_after) or START)
            async for response in self._shown(run_id, subscription, wanted):
                yield response

    async def _shown(
        self, run_id: str, subscription: Subscription, wanted: Callable[[runs_pb2.Event], bool]
    ) -> AsyncIterator[runs_pb2.StreamRunResponse]:
        async for events in self._follow(run_id, subscription):
            batch = [each for each in events if each.name != END_EVENT and wanted(each)]
            if batch:
                yield runs_pb2.StreamRunResponse(batch=runs_pb2.EventBatch(events=batch))

    async def WaitRun(
        self, request: runs_pb2.WaitRunRequest, context: Context
    ) -> AsyncIterator[runs_pb2.WaitRunResponse]:
        creating = request.WhichOneof("target") == "create"
        existing = None if creating else await self._find(request.run)
        async with self._watching(request.create if creating else None, existing) as (run, subscription):
            if existing is not None:
                await subscription.start(None)
                existing = await self._repo.get(run.run_id)  # it may have ended before we were subscribed
            outcome = WaitedOutcome(self._threads, run)
            async with self._cancelling_when_left(run.run_id, request.cancel_on_disconnect):
                yield runs_pb2.WaitRunResponse(run=run_proto(run))
                if creating or (existing is not None and existing.state.active):
                    async for events in self._follow(run.run_id, subscription):
                        outcome.take(events)
            if outcome.state is None:  # nobody told us: it had ended before, or Redis lost the end
                ended = await self._repo.get(run.run_id)
                outcome.state = ended.state if ended else None
            yield runs_pb2.WaitRunResponse(
                outcome=runs_pb2.WaitRunResponse.Outcome(
                    state=RUN_STATES[outcome.state or RunState.INTERRUPTED], body_json=await outcome.body()
                )
            )

    @asynccontextmanager
    async def _watching(
        self, create: runs_pb2.CreateRunRequest | None, existing: Run | None
    ) -> AsyncIterator[tuple[Run, Subscription]]:
        """A run, created now or existing, and a subscription that was there before its first event."""
        if existing is not None:
            async with self._hub.subscribe(existing.thread_id) as subscription:
                yield existing, subscription
        elif create is not None:
            create.run_id = create.run_id or new_id()
            check(create)
            async with self._hub.subscribe(thread_of(create, create.run_id)) as subscription:
                await subscription.start_empty()
                yield await self._acceptor.accept(create), subscription

    async def _follow(self, run_id: str, subscription: Subscription) -> AsyncIterator[list[runs_pb2.Event]]:
        async for events in follow(subscription, run_id, self._active_runs.is_active):
            yield events

    @asynccontextmanager
    async def _cancelling_when_left(self, run_id: str, enabled: bool) -> AsyncIterator[None]:
        """Cancels the run if the client leaves before its end, when the client asked for that.

        A replica that stops looks the same from here; its clients are still there and go on elsewhere.
        """
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            if enabled and not self.stopping:
                task = asyncio.create_task(self._cancel_left(run_id))
                self._cancelling.add(task)  # this call may be cancelled again, and forget it
                task.add_done_callback(self._cancelling.discard)
                await asyncio.shield(task)
            raise

    async def _cancel_left(self, run_id: str) -> None:
        """Nobody is there any more who could repeat this cancel, so it outlasts a database that is down."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((Unavailable, grpc.aio.AioRpcError)),
            wait=wait_exponential(0.2, max=5),
            before_sleep=lambda state: log.warning("cancel_postponed", run_id=run_id, attempt=state.attempt_number),
        ):
            with attempt:
                await self._canceller.cancel([run_id], CancelAction.INTERRUPT, DISCONNECTED)

    async def StreamThread(
        self, request: runs_pb2.StreamThreadRequest, context: Context
    ) -> AsyncIterator[runs_pb2.StreamThreadResponse]:
        async for batch in self._thread_streams.follow(
            request.thread_id, list(request.stream_modes), request.last_event_id
        ):
            yield runs_pb2.StreamThreadResponse(batch=runs_pb2.EventBatch(events=batch))

    async def PublishStateUpdate(self, request: runs_pb2.PublishStateUpdateRequest, context: Context) -> Empty:
        await self._thread_streams.publish_state(request.thread_id, request.state_json)
        return Empty()

    async def GetQueueStats(self, request: runs_pb2.GetQueueStatsRequest, context: Context) -> runs_pb2.QueueStats:
        stats = await self._repo.stats()
        attachments = self._dispatcher.attachments
        return runs_pb2.QueueStats(
            pending_count=stats["pending_count"],
            running_count=stats["running_count"],
            pending_wait_max_seconds=stats["wait_max"],
            pending_wait_median_seconds=stats["wait_median"],
            unblocked_wait_max_seconds=stats["unblocked_wait_max"],
            worker_max_count=sum(each.slots for each in attachments),
            worker_active_count=sum(len(each.held) for each in attachments),
        )


def _replay_from(run: Run, last_event_id: str) -> EventId | None:
    """Where a joining client's view begins: None means now."""
    if not last_event_id or not run.resumable:
        return None
    return START if last_event_id in ("-1", "-", "0") else EventId.parse(last_event_id)
