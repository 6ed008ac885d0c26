"""What one client sees of a run: the events of its stream until the end, or only how it ends."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.hub import Subscription
from threadmill_runs.events.log import END_EVENT

# While a stream is silent, Postgres is asked whether the run has ended: Redis may have lost the last event.
SILENCE_SECONDS = 5.0

# Base name of the events that each stream mode gives.
EVENTS_OF_MODE = {
    "messages-tuple": ("messages",),
    "messages": ("messages", "messages/partial", "messages/complete", "messages/metadata"),
}


class RunWatch(Protocol):
    """Says whether a run has yet to end."""

    def __call__(self) -> Awaitable[bool]:
        """True while the run is pending or running."""


def mode_filter(modes: Sequence[str]) -> Callable[[runs_pb2.Event], bool]:
    """Whether an event belongs to one of the modes (errors always do); no modes: all do."""
    if not modes:
        return lambda event: True
    wanted = {name for mode in modes for name in EVENTS_OF_MODE.get(mode, (mode,))} | {"error"}
    return lambda event: event.name.partition("|")[0] in wanted


async def follow(subscription: Subscription, run_id: str, is_active: RunWatch) -> AsyncIterator[list[runs_pb2.Event]]:
    """Batches of the run's events, the END event last, until the run has ended.

    Should the END event be lost with Redis, the stream ends without it, once Postgres says that the run has.
    """
    silent_and_ended = False
    while True:
        events = [event for event in await subscription.next_events(SILENCE_SECONDS) if event.run_id == run_id]
        if events:
            yield events
            if events[-1].name == END_EVENT:
                return
        elif silent_and_ended:
            return
        else:
            silent_and_ended = not await is_active()
            if silent_and_ended:
                subscription.confirm()  # one last look into the log
