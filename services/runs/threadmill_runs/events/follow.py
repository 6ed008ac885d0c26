"""What one client sees of a run: the events of its stream until the end, or only how it ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.log import END_EVENT
from threadmill_runs.events.subscription import Subscription

# While a stream is silent, Postgres is asked whether the run has ended: Redis may have lost the last event.
SILENCE_SECONDS = 5.0

# Base name of the events that each stream mode gives.
EVENTS_OF_MODE = {
    "messages-tuple": ("messages",),
    "messages": ("messages", "messages/partial", "messages/complete", "messages/metadata"),
}


# A message of a stream takes a little more than this at the most, unless a single event does.
MESSAGE_BYTES = 2 * 1024 * 1024


Shown = TypeVar("Shown", runs_pb2.Event, runs_pb2.ProtocolEvent)


class RunWatch(Protocol):
    """Says whether a run has yet to end."""

    def __call__(self, run_id: str, /) -> Awaitable[bool]:
        """True while the run is pending or running."""


def mode_filter(modes: Sequence[str]) -> Callable[[runs_pb2.Event], bool]:
    """Whether an event belongs to one of the modes (errors always do); no modes: all do."""
    if not modes:
        return lambda event: True
    wanted = {name for mode in modes for name in EVENTS_OF_MODE.get(mode, (mode,))} | {"error"}
    return lambda event: event.name.partition("|")[0] in wanted


def in_messages(events: Sequence[Shown]) -> list[list[Shown]]:
    """Splits events where one message would become too large for gRPC, and for those who hold it."""
    messages: list[list[Shown]] = []
    size = MESSAGE_BYTES
    for event in events:
        if size >= MESSAGE_BYTES:
            messages.append([])
            size = 0
        messages[-1].append(event)
        size += len(event.data_json)
    return messages


async def follow(
    subscription: Subscription, run_id: str, is_active: RunWatch, *, ended: bool = False
) -> AsyncIterator[list[runs_pb2.Event]]:
    """Batches of the run's events, the END event last, until the run has ended.

    Should the END event be lost with Redis, the stream ends without it, once Postgres says that the run has. It is
    asked when the run has been silent for a while, however busy other runs of the thread are. `ended`: it is known to
    have ended; then what the log holds is all there is.
    """
    now = asyncio.get_running_loop().time
    ask_at = now() + SILENCE_SECONDS
    while True:
        fresh = await subscription.next_events(max(0.01, ask_at - now()))
        events = [event for event in fresh if event.run_id == run_id]
        if events:
            yield events
            if events[-1].name == END_EVENT:
                return
            ask_at = now() + SILENCE_SECONDS
        elif ended:
            if not subscription.behind:
                return
        elif now() >= ask_at:
            ended = not await is_active(run_id)
            ask_at = now() + SILENCE_SECONDS
            if ended:
                subscription.confirm()  # one last look into the log
