"""A client's place at a run: a subscription that misses nothing."""

from __future__ import annotations  # the async stubs exist for type checkers only

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import grpc
from threadmill_chassis.errors import Unavailable
from threadmill_chassis.grpc_server import Context
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.hub import Hub
from threadmill_runs.events.subscription import Subscription
from threadmill_runs.queue.accepting import Acceptor
from threadmill_runs.queue.new_run import check, thread_of
from threadmill_runs.queue.run import Run

# A run that is over so soon is followed without Redis; if its events come to this replica, it may take longer.
LOCAL_SECONDS = 0.05
HOME_SECONDS = 1.0
# So long a new run waits until Redis sends its events; it begins without that, and they are found in the log later.
REDIS_SECONDS = 2.0
# A create that fails after so long is not worth repeating. The metadata is a server's word to gRPC's retries (gRFC A6).
PATIENCE_SECONDS = 3.0
DO_NOT_REPEAT = (("grpc-retry-pushback-ms", "-1"),)


class Watching:
    """Brings clients and runs together."""

    def __init__(self, acceptor: Acceptor, hub: Hub, reports_here: Callable[[str], bool]) -> None:
        self._acceptor = acceptor
        self._hub = hub
        self._reports_here = reports_here
        self._attaching: set[asyncio.Task[None]] = set()

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
            self._created(create, subscription, context) as run,
        ):
            yield run, subscription

    @asynccontextmanager
    async def _created(
        self,
        create: runs_pb2.CreateRunRequest,
        subscription: Subscription,
        context: Context,
    ) -> AsyncIterator[Run]:
        """A new run whose events reach the subscription.

        Of a run that begins here, the events do too. Most are over soon; Redis is asked only for those that are not.
        """

        async def prepare(begins_here: bool) -> None:
            if begins_here:
                subscription.start_local()
            else:
                await subscription.start_empty(REDIS_SECONDS)

        async with patient_enough(context):
            accepted = await self._acceptor.accept(create, prepare)
        if not accepted.begun:
            if accepted.repeated or subscription.is_local:  # what it has shown already is in the log
                subscription.look_back()
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
