"""gRPC edge of runs."""

from __future__ import annotations  # the async stubs exist for type checkers only

import asyncio
from collections.abc import AsyncIterator, Callable

from google.protobuf.empty_pb2 import Empty
from threadmill_chassis.errors import InvalidArgument, Unavailable
from threadmill_chassis.grpc_server import Context
from threadmill_protos.runs.v1 import runs_pb2, runs_pb2_grpc
from threadmill_protos.threads.v1 import threads_pb2_grpc

from threadmill_runs.api.decode import object_of, optional_uuid, page_of, uuid_of
from threadmill_runs.api.encode import ACTION_OF_PROTO, RUN_STATES, STATE_OF_PROTO, run_proto
from threadmill_runs.api.outcome import WaitedOutcome
from threadmill_runs.api.watching import Watching, patient_enough
from threadmill_runs.assistants.repo import AssistantRepo
from threadmill_runs.crons.repo import CronRepo
from threadmill_runs.errors import RunNotFound
from threadmill_runs.events.active_runs import ActiveRuns
from threadmill_runs.events.follow import follow, in_messages, mode_filter
from threadmill_runs.events.hub import Hub
from threadmill_runs.events.log import END_EVENT, START, EventId
from threadmill_runs.events.protocol_stream import ProtocolStreams
from threadmill_runs.events.protocol_view import ProtocolFilter
from threadmill_runs.events.subscription import Subscription
from threadmill_runs.events.thread_stream import ThreadStreams, ThreadView
from threadmill_runs.queue.accepting import Acceptor
from threadmill_runs.queue.cancelling import Canceller
from threadmill_runs.queue.dispatcher import Dispatcher
from threadmill_runs.queue.repo import QueueRepo, RunFilter
from threadmill_runs.queue.run import Run, RunState

# Who starts a run waits so long to learn which events are older than it.
POSITION_SECONDS = 0.5


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
        protocol_streams: ProtocolStreams,
        dispatcher: Dispatcher,
        threads: threads_pb2_grpc.ThreadsAsyncStub,
        crons: CronRepo,
        active_runs: ActiveRuns,
        watching: Watching,
    ) -> None:
        self._acceptor = acceptor
        self._repo = repo
        self._canceller = canceller
        self._assistants = assistants
        self._hub = hub
        self._thread_streams = thread_streams
        self._protocol_streams = protocol_streams
        self._dispatcher = dispatcher
        self._threads = threads
        self._crons = crons
        self._active_runs = active_runs
        self._watching = watching

    async def CreateRun(self, request: runs_pb2.CreateRunRequest, context: Context) -> runs_pb2.Run:
        async with patient_enough(context):
            return run_proto((await self._acceptor.accept(request)).run)

    async def CreateRuns(self, request: runs_pb2.CreateRunsRequest, context: Context) -> runs_pb2.CreateRunsResponse:
        async with patient_enough(context):
            accepted = await self._acceptor.accept_all(list(request.runs))
            return runs_pb2.CreateRunsResponse(runs=[run_proto(each.run) for each in accepted])

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
        async with self._watching.watching(request, existing, context) as (run, subscription):
            ended, replay = False, None
            if existing is not None:
                replay = _replay_from(existing, request.last_event_id)
                await subscription.start(replay)
                current = await self._repo.get(run.run_id)  # it may have ended before we were subscribed
                ended = current is None or not current.state.active
            position = START if existing is None else subscription.position or START
            yield runs_pb2.StreamRunResponse(run=run_proto(run), position=str(position))
            if ended and replay is None:
                return
            async for response in self._shown(run.run_id, subscription, wanted, ended=ended):
                yield response

    async def _continued(
        self, request: runs_pb2.StreamRunRequest, wanted: Callable[[runs_pb2.Event], bool]
    ) -> AsyncIterator[runs_pb2.StreamRunResponse]:
        """The rest of a stream that another replica has begun; the run may have ended, and be gone, meanwhile."""
        run_id, thread_id = await self._where(request.run)
        async with self._hub.subscribe(thread_id) as subscription:
            await subscription.start(EventId.parse(request.continue_after) or START)
            async for response in self._shown(run_id, subscription, wanted):
                yield response

    async def _where(self, ref: runs_pb2.RunRef) -> tuple[str, str]:
        """Ids of a run and its thread; the thread's tells them of a run that is gone, too."""
        run_id = uuid_of(ref.run_id, "run")
        return run_id, optional_uuid(ref.thread_id, "thread") or (await self._find(ref)).thread_id

    async def _shown(
        self,
        run_id: str,
        subscription: Subscription,
        wanted: Callable[[runs_pb2.Event], bool],
        *,
        ended: bool = False,
    ) -> AsyncIterator[runs_pb2.StreamRunResponse]:
        async for events in self._follow(run_id, subscription, ended=ended):
            for batch in in_messages([each for each in events if each.name != END_EVENT and wanted(each)]):
                yield runs_pb2.StreamRunResponse(batch=runs_pb2.EventBatch(events=batch))

    async def WaitRun(
        self, request: runs_pb2.WaitRunRequest, context: Context
    ) -> AsyncIterator[runs_pb2.WaitRunResponse]:
        if request.continue_after:
            yield await self._continued_wait(request)
            return
        creating = request.WhichOneof("target") == "create"
        existing = None if creating else await self._find(request.run)
        async with self._watching.watching(request, existing, context) as (run, subscription):
            if existing is not None:
                await subscription.start(None)
                existing = await self._repo.get(run.run_id)  # it may have ended before we were subscribed
            outcome = WaitedOutcome(self._threads, run.thread_id, temporary=run.temporary)
            yield runs_pb2.WaitRunResponse(run=run_proto(run))
            if creating or (existing is not None and existing.state.active):
                async for events in self._follow(run.run_id, subscription):
                    outcome.take(events)
            yield await self._waited(run.run_id, outcome)

    async def _continued_wait(self, request: runs_pb2.WaitRunRequest) -> runs_pb2.WaitRunResponse:
        """The end of a wait that another replica has begun; as in `_continued`."""
        run_id, thread_id = await self._where(request.run)
        run = await self._repo.get(run_id)
        outcome = WaitedOutcome(self._threads, thread_id, temporary=run is None or run.temporary)
        async with self._hub.subscribe(thread_id) as subscription:
            await subscription.start(EventId.parse(request.continue_after) or START)
            async for events in self._follow(run_id, subscription):
                outcome.take(events)
        return await self._waited(run_id, outcome)

    async def _waited(self, run_id: str, outcome: WaitedOutcome) -> runs_pb2.WaitRunResponse:
        if outcome.state is None:  # nobody told us: it had ended before, or Redis lost the end
            ended = await self._repo.get(run_id)
            outcome.state = ended.state if ended else None
        return runs_pb2.WaitRunResponse(
            outcome=runs_pb2.WaitRunResponse.Outcome(
                state=RUN_STATES[outcome.state or RunState.INTERRUPTED], body_json=await outcome.body()
            )
        )

    async def _follow(
        self, run_id: str, subscription: Subscription, *, ended: bool = False
    ) -> AsyncIterator[list[runs_pb2.Event]]:
        async for events in follow(subscription, run_id, self._active_runs.is_active, ended=ended):
            yield events

    async def FollowThread(
        self, request: runs_pb2.FollowThreadRequest, context: Context
    ) -> AsyncIterator[runs_pb2.FollowThreadResponse]:
        wanted = ProtocolFilter.of(request)
        thread_id = uuid_of(request.thread_id, "thread")
        last_run_only = request.replay == runs_pb2.REPLAY_LAST_RUN
        async for delivery in self._protocol_streams.follow(
            thread_id, wanted, request.since, request.continue_after, last_run_only=last_run_only
        ):
            *parts, last = in_messages(delivery.events) or [[]]
            for part in parts:
                batch = runs_pb2.FollowThreadResponse.Batch(events=part)
                yield runs_pb2.FollowThreadResponse(batch=batch, position=part[-1].id)
            yield runs_pb2.FollowThreadResponse(
                batch=runs_pb2.FollowThreadResponse.Batch(events=last),
                position=str(delivery.position),
                live=delivery.live,
            )

    async def GetThreadPosition(
        self, request: runs_pb2.GetThreadPositionRequest, context: Context
    ) -> runs_pb2.ThreadPosition:
        thread_id = uuid_of(request.thread_id, "thread")
        try:
            async with asyncio.timeout(POSITION_SECONDS):
                return runs_pb2.ThreadPosition(seq=await self._protocol_streams.position(thread_id))
        except (Unavailable, TimeoutError):  # a run must not wait for that
            return runs_pb2.ThreadPosition()

    async def StreamThread(
        self, request: runs_pb2.StreamThreadRequest, context: Context
    ) -> AsyncIterator[runs_pb2.StreamThreadResponse]:
        thread_id = uuid_of(request.thread_id, "thread")
        wanted = ThreadView.of(request.stream_modes, request.last_event_id, request.continue_after)
        async for position, events in self._thread_streams.follow(thread_id, wanted):
            for batch in in_messages(events) or [[]]:
                at = batch[-1].id if batch else str(position)
                yield runs_pb2.StreamThreadResponse(batch=runs_pb2.EventBatch(events=batch), position=at)

    async def PublishStateUpdate(self, request: runs_pb2.PublishStateUpdateRequest, context: Context) -> Empty:
        await self._thread_streams.publish_state(uuid_of(request.thread_id, "thread"), request.state_json)
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
