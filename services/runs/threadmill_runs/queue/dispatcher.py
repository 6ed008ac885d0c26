"""Matching runnable runs with executors that have free slots."""

import asyncio
from dataclasses import dataclass, field

import orjson
import structlog
from redis.exceptions import RedisError
from threadmill_chassis.errors import Unavailable
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2

from threadmill_runs.events.log import EventLog, event
from threadmill_runs.queue.repo import QueueRepo
from threadmill_runs.queue.run import CancelAction, Claim

log = structlog.get_logger(__name__)

# Messages that an executor may leave unread before its stream is given up, beyond what its slots explain.
OUTBOX_SPARE = 1000

CANCEL_ACTIONS = {
    CancelAction.INTERRUPT: runs_pb2.CANCEL_ACTION_INTERRUPT,
    CancelAction.ROLLBACK: runs_pb2.CANCEL_ACTION_ROLLBACK,
}


@dataclass(slots=True)
class Attachment:
    """One executor's control stream at this replica. `outbox` holds what is to be sent down."""

    executor_id: str
    slots: int
    graph_ids: list[str]
    held: dict[str, int] = field(default_factory=dict)
    draining: bool = False
    outbox: asyncio.Queue[executors_pb2.AttachResponse | None] = field(default_factory=asyncio.Queue)

    @property
    def free(self) -> int:
        """Runs that it can take at once."""
        return 0 if self.draining else max(0, self.slots - len(self.held))

    def send(self, response: executors_pb2.AttachResponse) -> None:
        """Queues a message. An executor that reads none any more loses its stream, and with it in time its runs."""
        if self.outbox.qsize() < self.slots + OUTBOX_SPARE:
            self.outbox.put_nowait(response)
        else:
            self.hang_up()

    def hang_up(self) -> None:
        """Ends the stream; a well executor attaches again, here or at another replica."""
        while not self.outbox.empty():
            self.outbox.get_nowait()
        self.outbox.put_nowait(None)

    def drop(self, fence: common_pb2.Fence) -> None:
        """The executor has this attempt no more; a later attempt of the same run may be its own as well."""
        if self.held.get(fence.run_id) == fence.token:
            del self.held[fence.run_id]


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals of the queue, in seconds."""

    lease_seconds: float
    poll_seconds: float
    run_timeout_seconds: float


class Dispatcher:
    """Claims runs for the executors that are attached here, at every wake-up and every slow poll."""

    def __init__(self, repo: QueueRepo, events: EventLog, timing: Timing) -> None:
        self._repo = repo
        self._events = events
        self._timing = timing
        self._attachments: dict[str, Attachment] = {}
        self._awake = asyncio.Event()
        # While a claim is under way, runs are nobody's yet: stops that find no owner wait for its end.
        self._claiming = False
        self._unowned_stops: set[str] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def attachments(self) -> list[Attachment]:
        """Executors that are attached here."""
        return list(self._attachments.values())

    def wake(self) -> bool:
        """Something may be runnable; answers whether an executor that is attached here has a free slot."""
        self._awake.set()
        return any(attachment.free for attachment in self._attachments.values())

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
        """One claim for each executor with free slots, the emptiest first; True if all were filled."""
        waiting = sorted((each for each in self._attachments.values() if each.free), key=lambda each: -each.free)
        again = False
        for attachment in waiting:
            wanted = attachment.free
            claimed = await self._claim_for(attachment, wanted)
            again = again or (claimed == wanted and bool(attachment.free))
        return again

    async def _claim_for(self, attachment: Attachment, wanted: int) -> int:
        self._claiming = True
        try:
            claims = await self._repo.claim(
                attachment.executor_id, attachment.graph_ids, wanted, self._timing.lease_seconds
            )
            for claim in claims:
                await self._assign(attachment, claim)
        finally:
            self._claiming = False
            for run_id in self._unowned_stops:  # those that have an owner now are passed on, after the assignment
                self.stop_run(run_id)
            self._unowned_stops.clear()
        return len(claims)

    async def _assign(self, attachment: Attachment, claim: Claim) -> None:
        run = claim.run
        metadata = orjson.dumps({"run_id": run.run_id, "attempt": run.attempt})
        try:
            first = [event(run.run_id, "metadata", metadata)]
            await self._events.append(run.thread_id, run.token, first, 0, opens=True)
        except (RedisError, OSError) as error:  # the attempt's first event opens the log as well
            log.warning("metadata_not_published", run_id=run.run_id, error=repr(error))
        attachment.held[run.run_id] = run.token
        attachment.send(
            executors_pb2.AttachResponse(
                assignment=executors_pb2.AttachResponse.Assignment(
                    fence=common_pb2.Fence(run_id=run.run_id, token=run.token),
                    thread_id=run.thread_id,
                    graph_id=run.graph_id,
                    assistant_id=run.assistant_id,
                    attempt=run.attempt,
                    kwargs_json=run.kwargs_json,
                    stateless=run.stateless and not run.keep_thread,
                    timeout_seconds=max(0.0, self._timing.run_timeout_seconds - claim.elapsed_seconds),
                    request_id=run.request_id,
                    resuming=claim.resuming,
                )
            )
        )
        log.info("run_assigned", run_id=run.run_id, attempt=run.attempt, executor_id=attachment.executor_id)


def cancel_message(fence: common_pb2.Fence, action: CancelAction) -> executors_pb2.AttachResponse:
    """Tells an executor to stop a run."""
    return executors_pb2.AttachResponse(
        cancel=executors_pb2.AttachResponse.Cancel(fence=fence, action=CANCEL_ACTIONS[action])
    )
