"""gRPC edge towards executors: their control streams and their reports."""

import asyncio
from collections.abc import AsyncIterator

import structlog
from threadmill_chassis.errors import InvalidArgument, Unavailable
from threadmill_chassis.grpc_server import Context
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import executors_pb2, executors_pb2_grpc

from threadmill_runs.api.incoming_report import IncomingReport
from threadmill_runs.api.settings import RunsSettings
from threadmill_runs.assistants.domain import Graph
from threadmill_runs.assistants.repo import AssistantRepo, is_uuid
from threadmill_runs.errors import EventsMissing
from threadmill_runs.events.log import EventLog
from threadmill_runs.queue.attachment import Attachment
from threadmill_runs.queue.dispatcher import Dispatcher, cancel_message
from threadmill_runs.queue.ending import RunEnder
from threadmill_runs.queue.repo import QueueRepo

log = structlog.get_logger(__name__)


class ExecutorsServicer(executors_pb2_grpc.ExecutorsServicer):
    """Serves threadmill.runs.v1.Executors."""

    def __init__(
        self,
        settings: RunsSettings,
        assistants: AssistantRepo,
        repo: QueueRepo,
        events: EventLog,
        dispatcher: Dispatcher,
        ender: RunEnder,
    ) -> None:
        self._settings = settings
        self._assistants = assistants
        self._repo = repo
        self._events = events
        self._dispatcher = dispatcher
        self._ender = ender

    async def Attach(
        self, request_iterator: AsyncIterator[executors_pb2.AttachRequest], context: Context
    ) -> AsyncIterator[executors_pb2.AttachResponse]:
        first = await anext(request_iterator, None)
        if first is None:  # hung up before saying anything
            return
        hello = first.hello
        if not hello.executor_id or hello.slot_count <= 0:
            raise InvalidArgument("the first message of Attach must be `hello`, with an id and slots")
        graphs = [
            Graph(each.graph_id, each.name, each.description if each.HasField("description") else None, each.error)
            for each in hello.graphs
        ]
        await self._assistants.announce(hello.executor_id, graphs)
        attachment = Attachment(
            executor_id=hello.executor_id,
            slots=hello.slot_count,
            graph_ids=[graph.graph_id for graph in graphs],
            held={fence.run_id: fence.token for fence in hello.held},
        )
        attachment.send(self._welcome())
        # What an earlier stream assigned and the executor never got, nobody will renew.
        await self._repo.shorten_leases(hello.executor_id, self._settings.detach_grace_seconds)
        await self._heartbeat(attachment, list(hello.held))
        self._dispatcher.attach(attachment)
        # What ended just now was taken off an older stream of the executor, which then believes its slot free.
        await self._heartbeat(attachment, list(hello.held))
        reader = asyncio.create_task(self._read(attachment, request_iterator), name=f"attach {hello.executor_id}")
        log.info("executor_attached", executor_id=hello.executor_id, slots=hello.slot_count)
        try:
            while (response := await attachment.outbox.get()) is not None:
                yield response
        finally:
            reader.cancel()
            # The call is being cancelled, and may be cancelled again: what follows must not be.
            await asyncio.shield(asyncio.ensure_future(self._detach(attachment)))

    def _welcome(self) -> executors_pb2.AttachResponse:
        return executors_pb2.AttachResponse(
            welcome=executors_pb2.AttachResponse.Welcome(
                lease_seconds=self._settings.lease_seconds,
                heartbeat_seconds=self._settings.heartbeat_seconds,
                run_timeout_seconds=self._settings.run_timeout_seconds,
            )
        )

    async def _detach(self, attachment: Attachment) -> None:
        if not self._dispatcher.detach(attachment):
            return
        log.warning("executor_detached", executor_id=attachment.executor_id, held=len(attachment.held))
        try:
            await self._repo.shorten_leases(attachment.executor_id, self._settings.detach_grace_seconds)
            await self._assistants.forget(attachment.executor_id, self._settings.lease_seconds)
        except Unavailable:
            log.warning("leases_not_shortened", executor_id=attachment.executor_id)

    async def _read(self, attachment: Attachment, requests: AsyncIterator[executors_pb2.AttachRequest]) -> None:
        """Takes what the executor says until it hangs up; then ends the outbox."""
        try:
            async for request in requests:
                kind = request.WhichOneof("message")
                if kind == "released":
                    attachment.drop(request.released)
                    self._dispatcher.slot_freed(attachment)
                elif kind == "heartbeat":
                    attachment.draining = request.heartbeat.draining
                    await self._try_heartbeat(attachment, list(request.heartbeat.held))
        finally:
            attachment.outbox.put_nowait(None)

    async def _try_heartbeat(self, attachment: Attachment, held: list[common_pb2.Fence]) -> None:
        try:
            await self._assistants.see(attachment.executor_id, attachment.graph_ids)
            await self._heartbeat(attachment, held)
        except Unavailable:  # the executor goes on; the lease outlives several heartbeats
            log.warning("heartbeat_not_recorded", executor_id=attachment.executor_id)

    async def _heartbeat(self, attachment: Attachment, held: list[common_pb2.Fence]) -> None:
        """Renews leases; tells the executor which it has lost and which it is to stop (again, if it missed that)."""
        if not held:
            return
        pairs = [(fence.run_id, fence.token) for fence in held]
        renewed = await self._repo.renew(attachment.executor_id, pairs, self._settings.lease_seconds)
        kept = {renewal.run_id for renewal in renewed}
        for fence in held:
            if fence.run_id not in kept:
                attachment.drop(fence)
                attachment.send(executors_pb2.AttachResponse(lease_lost=fence))
        for renewal in renewed:
            if renewal.cancel_action is not None:
                fence = common_pb2.Fence(run_id=renewal.run_id, token=renewal.token)
                attachment.send(cancel_message(fence, renewal.cancel_action))

    async def Report(
        self, request_iterator: AsyncIterator[executors_pb2.ReportRequest], context: Context
    ) -> AsyncIterator[executors_pb2.ReportResponse]:
        first = await anext(request_iterator, None)
        if first is None:  # hung up before saying anything
            return
        header = first.header
        if not is_uuid(header.fence.run_id) or not is_uuid(header.thread_id):
            raise InvalidArgument("the first message of Report must be `header`, with a run and its thread")
        report = IncomingReport(header, self._events, self._repo, self._settings.lease_seconds)
        report.open_soon(holds=self._dispatcher.report_begun(header.fence))
        # Position of the event that has to come next; 0: unknown.
        expected = header.next_seq
        async for request in request_iterator:
            if request.WhichOneof("message") == "batch":
                if not request.batch.events:
                    raise InvalidArgument("a batch holds at least one event")
                _check_next(request.batch.events[0].seq, expected)
                await report.append(request.batch)
                acked = request.batch.events[-1].seq
                expected = acked + 1
                yield executors_pb2.ReportResponse(acked_seq=acked)
            elif request.WhichOneof("message") == "outcome":
                last_seq = request.outcome.last_seq
                if last_seq:
                    _check_next(last_seq + 1, expected)
                await report.open()
                await self._finish(header, request.outcome, last_seq or (expected - 1 if expected > 1 else None))
                yield executors_pb2.ReportResponse(
                    acked_seq=max(0, expected - 1),
                    outcome_acked=True,
                    slot_freed=self._dispatcher.attempt_ended(header.fence),
                )
                return

    async def _finish(
        self, header: executors_pb2.ReportRequest.Header, outcome: executors_pb2.Outcome, last_seq: int | None
    ) -> None:
        fence = header.fence
        if outcome.result == executors_pb2.Outcome.RESULT_RELEASED:
            if await self._repo.release(fence.run_id, fence.token):
                self._dispatcher.wake()
                return
            # Either the lease is lost, which `end` says, or the run was cancelled while it was being handed back.
            outcome = executors_pb2.Outcome(result=executors_pb2.Outcome.RESULT_CANCELLED, has_next=True)
        settled = outcome.thread_settled and outcome.result == executors_pb2.Outcome.RESULT_SUCCESS
        if (
            settled
            and self._dispatcher.ends_plainly(fence)
            and await self._ender.end_settled(fence, header.thread_id, header.graph_id, outcome, last_seq)
        ):
            return
        await self._ender.end(fence.run_id, fence.token, outcome, last_seq=last_seq)


def _check_next(seq: int, expected: int) -> None:
    """Events that are known already may come again; a gap means that a message of the call got lost on its way."""
    if expected and seq > expected:
        raise EventsMissing(f"event {expected} was to come next, and not {seq}")
