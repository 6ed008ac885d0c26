"""The events of one attempt, on their way from its report to the log of its thread."""

import asyncio
from collections.abc import Sequence

import structlog
from redis.exceptions import RedisError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential
from threadmill_chassis.errors import Unavailable
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2

from threadmill_runs.errors import LeaseLost
from threadmill_runs.events.log import Appended, EventLog, event
from threadmill_runs.queue.dispatcher import metadata_event
from threadmill_runs.queue.repo import QueueRepo

log = structlog.get_logger(__name__)

# So long the `metadata` event waits for the attempt's first batch, to go out with it: one Redis command less per run.
OPENING_SECONDS = 0.004


class IncomingReport:
    """One Report call. The attempt's log is opened by its first batch, or without one after a moment, or at its end.

    Whatever of that comes twice, the log keeps once.
    """

    def __init__(
        self, header: executors_pb2.ReportRequest.Header, events: EventLog, repo: QueueRepo, patience_seconds: float
    ) -> None:
        self._header = header
        self._events = events
        self._repo = repo
        self._patience_seconds = patience_seconds
        self._opens = False
        self._begins = bool(header.attempt) and header.next_seq <= 1
        self._timer: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None

    def open_soon(self, *, holds: bool) -> None:
        """To be called first. `holds`: the attempt is known to hold its run; without that, the database is asked."""
        self._opens = holds and self._begins
        if self._begins:
            self._timer = asyncio.get_running_loop().call_later(OPENING_SECONDS, self._open_now)

    def _open_now(self) -> None:
        self._opening = asyncio.create_task(self._try_to_open(), name=f"open {self._header.fence.run_id}")

    async def _try_to_open(self) -> None:
        try:
            await self.open()
        except (Unavailable, LeaseLost) as error:  # what the report says next says so as well
            log.warning("metadata_not_published", run_id=self._header.fence.run_id, error=repr(error))

    async def open(self) -> None:
        """Publishes the `metadata` event, unless the first batch has. Raises as `append`."""
        if self._begins:
            await self._append([], 1)

    async def append(self, batch: executors_pb2.ReportRequest.Batch) -> None:
        """Returns when the events are durable in Redis. Unavailable while Redis is down; LeaseLost when fenced."""
        await self._append(
            [
                event(self._header.fence.run_id, each.name, each.data_json, timestamp_ms=each.timestamp_ms)
                for each in batch.events
            ],
            batch.events[0].seq,
        )

    async def _append(self, events: Sequence[runs_pb2.Event], first_seq: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        header = self._header
        if first_seq == 1 and self._begins:
            events, first_seq = [metadata_event(header.fence.run_id, header.attempt, header.graph_id), *events], 0
        appended = await self._retrying(events, first_seq, opens=self._opens)
        # Redis has lost the attempt, it is another replica's, or it expired long after the attempt was over.
        if appended is Appended.UNOPENED:
            if await self._repo.owned(header.fence.run_id, header.fence.token) is None:
                appended = Appended.FENCED
            else:
                appended = await self._retrying(events, first_seq, opens=True)
        if appended is Appended.FENCED:
            raise LeaseLost(f"run {header.fence.run_id} is no longer this attempt's")
        self._begins = self._opens = False

    async def _retrying(self, events: Sequence[runs_pb2.Event], first_seq: int, *, opens: bool) -> Appended:
        """Rides out a short outage of Redis; after that the executor keeps its events and tries another time."""
        header = self._header

        async def append() -> Appended:
            return await self._events.append(header.thread_id, header.fence.token, events, first_seq, opens=opens)

        try:
            return await append()
        except (RedisError, OSError) as error:
            log.warning("events_postponed", run_id=header.fence.run_id, error=repr(error))
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((RedisError, OSError)),
            wait=wait_exponential(0.05, max=1),
            stop=stop_after_delay(self._patience_seconds),
            reraise=True,
        )
        try:
            return await retrying(append)
        except (RedisError, OSError) as error:
            raise Unavailable("Redis does not answer at the moment") from error
