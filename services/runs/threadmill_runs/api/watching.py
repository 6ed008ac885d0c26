"""A client's place at a run: a subscription that misses nothing, and what becomes of the run if the client leaves."""

from __future__ import annotations  # the async stubs exist for type checkers only

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import grpc
import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential
from threadmill_chassis.errors import Unavailable
from threadmill_chassis.grpc_server import Context
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.hub import Hub
from threadmill_runs.events.subscription import Subscription
from threadmill_runs.queue.accepting import Acceptor
from threadmill_runs.queue.cancelling import Canceller
from threadmill_runs.queue.new_run import check, thread_of
from threadmill_runs.queue.run import CancelAction, Run

log = structlog.get_logger(__name__)

# A run that is over so soon is followed without Redis; if its events come to this replica, it may take longer.
LOCAL_SECONDS = 0.05
HOME_SECONDS = 1.0
# A create that fails after so long is not worth repeating. The metadata is a server's word to gRPC's retries (gRFC A6).
PATIENCE_SECONDS = 3.0
DO_NOT_REPEAT = (("grpc-retry-pushback-ms", "-1"),)
DISCONNECTED = "client disconnected from the run stream (on_disconnect=cancel)"


class Watching:
    """Brings clients and runs together."""

    def __init__(self, acceptor: Acceptor, canceller: Canceller, hub: Hub, reports_here: Callable[[str], bool]) -> None:
        self._acceptor = acceptor
        self._canceller = canceller
        self._hub = hub
        self._reports_here = reports_here
        self._cancelling: set[asyncio.Task[None]] = set()
        self._attaching: set[asyncio.Task[None]] = set()
        # Set when the process is told to stop.
        self.stopping = False

    @asynccontextmanager
    async def watching(
        self, request: runs_pb2.StreamRunRequest | runs_pb2.WaitRunRequest, existing: Run | None, context: Context
    ) -> AsyncIterator[tuple[Run, Subscription]]:
        """A run, created now or existing, and a subscription that was there before its first event."""
        if existing is not None:
            async with self._hub.subscribe(existing.thread_id) as subscription:
                yield existing, subscription
            return
        create = request.create
        create.run_id = create.run_id or new_id()
        check(create)
        async with (
            self._hub.subscribe(thread_of(create, create.run_id)) as subscription,
            self._created(create, subscription, context, request.cancel_on_disconnect) as run,
        ):
            yield run, subscription

    @asynccontextmanager
    async def _created(
        self,
        create: runs_pb2.CreateRunRequest,
        subscription: Subscription,
        context: Context,
        cancel_on_disconnect: bool,
    ) -> AsyncIterator[Run]:
        """A new run whose events reach the subscription.

        Of a run that begins here, the events do too. Most are over soon; Redis is asked only for those that are not.
        """

        async def prepare(begins_here: bool) -> None:
            if begins_here:
                subscription.start_local()
            else:
                await subscription.start_empty()

        async with self.cancelling_when_left(create.run_id, cancel_on_disconnect), patient_enough(context):
            accepted = await self._acceptor.accept(create, prepare)
        if not accepted.begun:
            if accepted.repeated or subscription.is_local:  # what it has shown already is in the log
                await subscription.attach()
            yield accepted.run
            return
        with self._attaching_soon(subscription, accepted.run.run_id):
            yield accepted.run

    @contextmanager
    def _attaching_soon(self, subscription: Subscription, run_id: str) -> Iterator[None]:
        """Asks Redis for the events of a run that is still followed after a while."""
        later = asyncio.get_running_loop().call_later
        timer: asyncio.TimerHandle

        def decide() -> None:
            nonlocal timer
            if self._reports_here(run_id):
                timer = later(HOME_SECONDS, self._attach, subscription)
            else:
                self._attach(subscription)

        timer = later(LOCAL_SECONDS, decide)
        try:
            yield
        finally:
            timer.cancel()

    def _attach(self, subscription: Subscription) -> None:
        task = asyncio.create_task(subscription.attach())
        self._attaching.add(task)
        task.add_done_callback(self._attaching.discard)

    @asynccontextmanager
    async def cancelling_when_left(self, run_id: str, enabled: bool) -> AsyncIterator[None]:
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


@asynccontextmanager
async def patient_enough(context: Context) -> AsyncIterator[None]:
    """For a create. Once it has waited here for what is down, gRPC must not repeat it, to wait many times as long.

    What fails at once, such as a connection that breaks, is worth another try.
    """
    now = asyncio.get_running_loop().time
    began_at = now()
    try:
        yield
    except (Unavailable, grpc.aio.AioRpcError) as error:
        passing = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        if now() - began_at < PATIENCE_SECONDS or (
            isinstance(error, grpc.aio.AioRpcError) and error.code() not in passing
        ):
            raise
        text = error.message if isinstance(error, Unavailable) else error.details()
        message = f"a backing service did not answer: {text}"
        await context.abort(grpc.StatusCode.UNAVAILABLE, message, trailing_metadata=DO_NOT_REPEAT)
