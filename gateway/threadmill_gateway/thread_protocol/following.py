"""A thread followed for one client: what is kept of it, then what comes."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway.context import Gateway
from threadmill_gateway.responses import Call, Following, order
from threadmill_gateway.routes.streams import begin

Events = list[runs_pb2.ProtocolEvent]
ENDS = (b'{"event":"completed"', b'{"event":"failed"', b'{"event":"interrupted"')
# A client may open one stream for the ends of runs and another one for what they give. The Python SDK stops to read
# the second as soon as the first tells of an end, or of a request, so there these are a little late.
SIGNALS = frozenset({"lifecycle", "input"})
SIGNAL_SECONDS = 0.06
# Clients reopen their stream when they want to see more, and stop at an end that they see on the old one. So no end is
# told before clients have had the time to do so.
SETTLING_SECONDS = 0.2


class ThreadFollowing(Following):
    """What comes of a thread.

    While the past is being sent, another replica is asked for all of it again, because it decides what of the past the
    client gets; what has been sent is left out.
    """

    def __init__(self, call: Call, gateway: Gateway, question: runs_pb2.FollowThreadRequest, position: str) -> None:
        super().__init__(call, self._rejoined, position)
        self._gateway = gateway
        self._question = question
        self._live = bool(question.continue_after)
        self._sent = ""

    def _rejoined(self, position: str) -> Call:
        again = runs_pb2.FollowThreadRequest()
        again.CopyFrom(self._question)
        if self._live:
            again.continue_after = position
        else:
            self._sent = position
        clients = self._gateway.clients
        return clients.follow(clients.runs.FollowThread, again, again=True)

    async def messages(self) -> AsyncIterator[runs_pb2.FollowThreadResponse]:
        """What comes; raises as Following."""
        async for message in super().messages():
            if self._sent:
                fresh = [event for event in message.batch.events if order(event.id) > order(self._sent)]
                del message.batch.events[:]
                message.batch.events.extend(fresh)
            if message.live:
                self._live, self._sent = True, ""
            yield message


async def follow_thread(gateway: Gateway, question: runs_pb2.FollowThreadRequest) -> Following:
    """A stream of a thread that has begun, and outlasts the replica behind it. Raises the service's errors."""
    call, first = await begin(gateway, gateway.clients.runs.FollowThread, question)
    return ThreadFollowing(call, gateway, question, first.position)


class Pace:
    """When events are sent: not all of them at once (see above)."""

    def __init__(self, selections: Iterable[runs_pb2.Selection]) -> None:
        self._signals_only = all(SIGNALS.issuperset(each.channels) for each in selections)
        self._settled_at = asyncio.get_running_loop().time() + SETTLING_SECONDS

    async def parts(self, events: Events) -> AsyncIterator[Events]:
        """The events in order, in parts that are to be sent as they come."""
        settling = self._settled_at - asyncio.get_running_loop().time()
        wait = max(settling, SIGNAL_SECONDS if self._signals_only else 0.0)
        first = next((index for index, each in enumerate(events) if self._is_late(each)), None) if wait > 0 else None
        if first is not None:
            if first:
                yield events[:first]
            await asyncio.sleep(wait)
            events = events[first:]
        yield events

    def _is_late(self, event: runs_pb2.ProtocolEvent) -> bool:
        if event.method == "input.requested":
            return self._signals_only
        return event.method == "lifecycle" and not event.namespace and event.data_json.startswith(ENDS)
