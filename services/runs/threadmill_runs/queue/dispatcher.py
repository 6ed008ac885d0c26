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
        """Queues a message; bounded by what the executor can hold: slots, cancels and lost leases."""
        self.outbox.put_nowait(response)


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

    @property
    def attachments(self) -> list[Attachment]:
        """Executors that are attached here."""
        return list(self._attachments.values())

    def wake(self) -> bool:
        """Something may be runnable; answers whether an executor that is attached here has a free slot."""
        self._awake.set()
        return any(attachment.free for attachment in self._attachments.values())

    def attach(self, attachment: Attachment) -> None:
        """An executor is here; an older stream of the same executor is replaced."""
        previous = self._attachments.get(attachment.executor_id)
        self._attachments[attachment.executor_id] = attachment
        if previous is not None:
            previous.outbox.put_nowait(None)
        self.wake()

    def detach(self, attachment: Attachment) -> bool:
        """Its stream has ended; False if a newer stream of the executor has taken over."""
        if self._attachments.get(attachment.executor_id) is not attachment:
            return False
        del self._attachments[attachment.executor_id]
        return True

    def stop_run(self, run_id: str) -> asyncio.Task[None] | None:
        """Passes a stop on if the run executes here; the database says what is to be done with it."""
        for attachment in self._attachments.values():
            if run_id in attachment.held:
                return asyncio.ensure_future(self._tell(attachment, run_id, attachment.held[run_id]))
        return None

    async def _tell(self, attachment: Attachment, run_id: str, token: int) -> None:
        run = await self._repo.owned(run_id, token)
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
            claims = await self._repo.claim(
                attachment.executor_id, attachment.graph_ids, wanted, self._timing.lease_seconds
            )
            for claim in claims:
                await self._assign(attachment, claim)
            again = again or (len(claims) == wanted and bool(attachment.free))
        return again

    async def _assign(self, attachment: Attachment, claim: Claim) -> None:
        run = claim.run
        metadata = orjson.dumps({"run_id": run.run_id, "attempt": run.attempt})
        try:
            await self._events.append(run.thread_id, run.token, [event(run.run_id, "metadata", metadata)], 0)
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
