"""Matching runnable runs with executors that have free slots."""

import asyncio
from dataclasses import dataclass

import orjson
import structlog
from redis.exceptions import RedisError
from threadmill_chassis.errors import Unavailable
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2

from threadmill_runs.events.log import EventLog, event
from threadmill_runs.queue.attachment import Attachment, Reservation
from threadmill_runs.queue.repo import QueueRepo
from threadmill_runs.queue.run import CancelAction, Claim, Run
from threadmill_runs.webhooks.document import webhook_of

log = structlog.get_logger(__name__)

CANCEL_ACTIONS = {
    CancelAction.INTERRUPT: runs_pb2.CANCEL_ACTION_INTERRUPT,
    CancelAction.ROLLBACK: runs_pb2.CANCEL_ACTION_ROLLBACK,
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals of the queue, in seconds."""

    lease_seconds: float
    poll_seconds: float
    run_timeout_seconds: float


class Dispatcher:
    """Gives runs to the executors that are attached here.

    Most are claimed by the statement that inserts them: `reserve` before it, `assign` after it. The others are claimed
    by a loop, at every wake-up that finds a slot, at every slot that becomes free while some may be waiting, and at
    every slow poll, which finds what no wake-up has told of.
    """

    def __init__(self, repo: QueueRepo, events: EventLog, timing: Timing) -> None:
        self._repo = repo
        self._events = events
        self._timing = timing
        self._attachments: dict[str, Attachment] = {}
        self._awake = asyncio.Event()
        self._reservations: set[Reservation] = set()
        # While a claim is under way, runs are nobody's yet: stops that find no owner wait for its end.
        self._claiming = False
        self._unowned_stops: set[str] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def attachments(self) -> list[Attachment]:
        """Executors that are attached here."""
        return list(self._attachments.values())

    @property
    def lease_seconds(self) -> float:
        """How long a claim lasts without a heartbeat."""
        return self._timing.lease_seconds

    def wake(self, graph_id: str | None = None) -> bool:
        """Something (of this graph) may be runnable; answers whether an executor attached here has a slot for it."""
        taken = False
        for attachment in self._attachments.values():
            if attachment.serves(graph_id):
                attachment.hungry = True
                taken = taken or bool(attachment.room)
        self._awake.set()
        return taken

    def slot_freed(self, attachment: Attachment) -> None:
        """An executor can take another run; the queue is asked if it may hold one for it."""
        if attachment.hungry:
            self._awake.set()

    def reserve(self, graph_id: str, run_id: str) -> Reservation | None:
        """A slot for a run that is about to be created. None if there is none, or if older runs may have a claim to it.

        Whoever gets one ends it, with `assign` or `give_up`.
        """
        able = [each for each in self._attachments.values() if each.free and not each.hungry and each.serves(graph_id)]
        if not able:
            return None
        reservation = Reservation(max(able, key=lambda each: each.free), run_id)
        reservation.attachment.reserved += 1
        self._reservations.add(reservation)
        return reservation

    def give_up(self, reservation: Reservation) -> None:
        """The reserved slot is not needed."""
        self._reservations.discard(reservation)
        reservation.attachment.reserved -= 1
        self.slot_freed(reservation.attachment)

    async def assign(self, reservation: Reservation, claim: Claim) -> None:
        """Gives the run, claimed by its insert, to the executor whose slot was reserved."""
        try:
            await self._assign(reservation.attachment, claim)
        finally:
            self.give_up(reservation)
        if reservation.stopped:
            self.stop_run(claim.run.run_id)

    def ends_plainly(self, fence: common_pb2.Fence) -> bool:
        """Whether the attempt was claimed here, and its run needs nothing but its state to end well."""
        holder = self._holder_of(fence)
        return holder is not None and fence.run_id in holder.plain

    def report_begun(self, fence: common_pb2.Fence) -> bool:
        """The events of an attempt come to this replica. Answers whether it was assigned here, and holds its run."""
        holder = self._holder_of(fence)
        if holder is not None:
            holder.reported.add(fence.run_id)
        return holder is not None

    def attempt_ended(self, fence: common_pb2.Fence) -> bool:
        """Its outcome has come to this replica: frees its slot, if its executor is attached here. Answers whether."""
        holder = self._holder_of(fence)
        if holder is not None:
            holder.drop(fence)
            self.slot_freed(holder)
        return holder is not None

    def _holder_of(self, fence: common_pb2.Fence) -> Attachment | None:
        """The executor, attached here, that holds the attempt."""
        holders = (each for each in self._attachments.values() if each.held.get(fence.run_id) == fence.token)
        return next(holders, None)

    def reports_here(self, run_id: str) -> bool:
        """Whether the events of a run come to this replica, as far as can be known."""
        return any(run_id in each.held and each.reports_here(run_id) for each in self._attachments.values())

    def attach(self, attachment: Attachment) -> None:
        """An executor is here; an older stream of the same executor is replaced. Unavailable once stopped."""
        if self._stopped:
            raise Unavailable("this replica is about to stop")
        previous = self._attachments.get(attachment.executor_id)
        self._attachments[attachment.executor_id] = attachment
        if previous is not None:
            previous.hang_up()
        self.wake()

    def stop(self) -> None:
        """Sends the executors away, to other replicas; their runs go on."""
        self._stopped = True
        for attachment in self._attachments.values():
            attachment.draining = True
            attachment.hang_up()

    def detach(self, attachment: Attachment) -> bool:
        """Its stream has ended; False if a newer stream of the executor has taken over."""
        if self._attachments.get(attachment.executor_id) is not attachment:
            return False
        del self._attachments[attachment.executor_id]
        return True

    def stop_run(self, run_id: str) -> None:
        """Passes a stop on if the run executes here; the database says what is to be done with it."""
        for attachment in self._attachments.values():
            if run_id in attachment.held:
                task = asyncio.create_task(self._tell(attachment, run_id, attachment.held[run_id]))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)
                return
        for reservation in self._reservations:
            if reservation.run_id == run_id:
                reservation.stopped = True
        if self._claiming:
            self._unowned_stops.add(run_id)

    async def _tell(self, attachment: Attachment, run_id: str, token: int) -> None:
        try:
            run = await self._repo.owned(run_id, token)
        except Unavailable:  # the next heartbeat says the same
            log.warning("stop_not_passed_on", run_id=run_id)
            return
        fence = common_pb2.Fence(run_id=run_id, token=token)
        if run is None:
            attachment.send(executors_pb2.AttachResponse(lease_lost=fence))
        elif run.cancel_action is not None:
            attachment.send(cancel_message(fence, run.cancel_action))

    async def run(self) -> None:
        """Dispatches for ever."""
        while True:
            self._awake.clear()
            try:
                while await self._claim_round():
                    pass
            except Unavailable as error:
                log.warning("dispatch_postponed", error=str(error))
            try:
                async with asyncio.timeout(self._timing.poll_seconds):
                    await self._awake.wait()
            except TimeoutError:
                continue

    async def _claim_round(self) -> bool:
        """One claim for each executor with free slots, the emptiest first; True if there may be more to claim."""
        waiting = sorted((each for each in self._attachments.values() if each.free), key=lambda each: -each.free)
        again = False
        for attachment in waiting:
            if attachment.free:  # still
                again = await self._claim_for(attachment, attachment.free) or again
        return again

    async def _claim_for(self, attachment: Attachment, wanted: int) -> bool:
        """Fills so many slots; True if the attachment has free ones and more may be waiting for it."""
        attachment.hungry = False  # unless this is interrupted, or a wake-up comes meanwhile
        attachment.claiming = wanted
        self._claiming = True
        filled = False
        try:
            filled = await self._claim(attachment, wanted)
        except Unavailable:
            filled = True
            raise
        finally:
            attachment.hungry = attachment.hungry or filled
            attachment.claiming = 0
            self._claiming = False
            for run_id in self._unowned_stops:  # those that have an owner now are passed on, after the assignment
                self.stop_run(run_id)
            self._unowned_stops.clear()
        return attachment.hungry and bool(attachment.free)

    async def _claim(self, attachment: Attachment, wanted: int) -> bool:
        """True if more than was wanted may have been there."""
        claims = await self._repo.claim(
            attachment.executor_id, attachment.graph_ids, wanted, self._timing.lease_seconds
        )
        if claims is None:
            return True
        # At once: a Redis that hangs delays each by its time-out, and all together must not outlast their leases.
        await asyncio.gather(*(self._assign(attachment, claim) for claim in claims))
        return len(claims) == wanted

    async def _assign(self, attachment: Attachment, claim: Claim) -> None:
        run = claim.run
        if claim.resuming:
            await self._shut_out_earlier(run)
        if attachment.closed or self._attachments.get(attachment.executor_id) is not attachment:
            await self._hand_back(run)
            return
        attachment.held[run.run_id] = run.token
        if not run.temporary and webhook_of(run.kwargs_json) is None:
            attachment.plain.add(run.run_id)
        attachment.send(self._assignment(claim))
        log.debug("run_assigned", run_id=run.run_id, attempt=run.attempt, executor_id=attachment.executor_id)

    async def _shut_out_earlier(self, run: Run) -> None:
        """Opens the log, so that an earlier attempt which does not know of its end can write no event from now on.

        That of a first attempt opens with the first report, in one command with its first events.
        """
        try:
            first = [metadata_event(run.run_id, run.attempt, run.graph_id)]
            await self._events.append(run.thread_id, run.token, first, 0, opens=True)
        except (RedisError, OSError) as error:  # the attempt's first report does it
            log.warning("metadata_not_published", run_id=run.run_id, error=repr(error))

    async def _hand_back(self, run: Run) -> None:
        """The executor went while the run was claimed for it; without this, the run would wait for the lease's end."""
        try:
            released = await self._repo.release(run.run_id, run.token)
        except Unavailable:
            released = False
        log.warning("run_not_assigned", run_id=run.run_id, released=released)
        if released:
            self.wake()

    def _assignment(self, claim: Claim) -> executors_pb2.AttachResponse:
        run = claim.run
        return executors_pb2.AttachResponse(
            assignment=executors_pb2.AttachResponse.Assignment(
                fence=common_pb2.Fence(run_id=run.run_id, token=run.token),
                thread_id=run.thread_id,
                graph_id=run.graph_id,
                assistant_id=run.assistant_id,
                attempt=run.attempt,
                kwargs_json=run.kwargs_json,
                stateless=run.temporary,
                timeout_seconds=max(0.0, self._timing.run_timeout_seconds - claim.elapsed_seconds),
                request_id=run.request_id,
                resuming=claim.resuming,
                thread_is_empty=claim.thread_is_empty,
            )
        )


def metadata_event(run_id: str, attempt: int, graph_id: str) -> runs_pb2.Event:
    """The first event of an attempt, with position 0."""
    return event(run_id, "metadata", orjson.dumps({"run_id": run_id, "attempt": attempt}), graph_id=graph_id)


def cancel_message(fence: common_pb2.Fence, action: CancelAction) -> executors_pb2.AttachResponse:
    """Tells an executor to stop a run."""
    return executors_pb2.AttachResponse(
        cancel=executors_pb2.AttachResponse.Cancel(fence=fence, action=CANCEL_ACTIONS[action])
    )
