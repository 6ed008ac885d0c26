"""One executor's control stream at this replica: what it holds, what it can take, what is to be sent down."""

import asyncio
from dataclasses import dataclass, field

from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import executors_pb2

# Messages that an executor may leave unread before its stream is given up, beyond what its slots explain.
OUTBOX_SPARE = 1000
# An executor whose reports of so many runs on end came to the replica of its stream will send the next one there too:
# no proxy in between deals its calls out.
REPORTS_ON_END = 16


@dataclass(slots=True)
class Attachment:
    """The stream of one executor. `outbox` holds what is to be sent down; None ends it."""

    executor_id: str
    slots: int
    graph_ids: list[str]
    # Run id to token.
    held: dict[str, int] = field(default_factory=dict)
    # Those of them that were claimed here and need nothing but their state to end well: no webhook, nothing to delete.
    plain: set[str] = field(default_factory=set)
    # Those of them whose reports come to this replica, and how many of the runs before did, on end.
    reported: set[str] = field(default_factory=set)
    reported_on_end: int = 0
    # Slots kept for runs that are being created, and for what the claim that is under way may bring.
    reserved: int = 0
    claiming: int = 0
    # Something that it could run may be waiting in the queue.
    hungry: bool = True
    draining: bool = False
    closed: bool = False
    outbox: asyncio.Queue[executors_pb2.AttachResponse | None] = field(default_factory=asyncio.Queue)

    @property
    def room(self) -> int:
        """Slots that are neither taken nor promised to a certain run."""
        return 0 if self.draining else max(0, self.slots - len(self.held) - self.reserved)

    @property
    def free(self) -> int:
        """Runs that it can take at once."""
        return max(0, self.room - self.claiming)

    def serves(self, graph_id: str | None) -> bool:
        """Whether it runs this graph; None: any."""
        return graph_id is None or graph_id in self.graph_ids

    def send(self, response: executors_pb2.AttachResponse) -> None:
        """Queues a message. An executor that reads none any more loses its stream, and with it in time its runs."""
        if self.outbox.qsize() < self.slots + OUTBOX_SPARE:
            self.outbox.put_nowait(response)
        else:
            self.hang_up()

    def hang_up(self) -> None:
        """Ends the stream; a well executor attaches again, here or at another replica."""
        self.closed = True
        while not self.outbox.empty():
            self.outbox.get_nowait()
        self.outbox.put_nowait(None)

    def drop(self, fence: common_pb2.Fence) -> None:
        """The executor has this attempt no more; a later attempt of the same run may be its own as well."""
        if self.held.get(fence.run_id) == fence.token:
            del self.held[fence.run_id]
            self.plain.discard(fence.run_id)
            self.reported_on_end = self.reported_on_end + 1 if fence.run_id in self.reported else 0
            self.reported.discard(fence.run_id)

    def reports_here(self, run_id: str) -> bool:
        """Whether the events of a run that it holds come, or will come, to this replica."""
        return run_id in self.reported or self.reported_on_end >= REPORTS_ON_END


@dataclass(eq=False, slots=True)
class Reservation:
    """A slot that is kept for a run which is being created; `stopped`: the run was stopped before it got there."""

    attachment: Attachment
    run_id: str
    stopped: bool = False
