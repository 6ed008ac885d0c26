"""What of a thread's past a client may see."""

from collections.abc import Awaitable, Callable, Sequence

from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.log import EventId


class Replay:
    """Of what happened up to `until`, before the client came, only resumable runs are shown."""

    def __init__(self, until: EventId, is_resumable: Callable[[str], Awaitable[bool]]) -> None:
        self.until = until
        self._is_resumable = is_resumable
        self._known: dict[str, bool] = {}

    async def of(
        self, events: Sequence[runs_pb2.Event], besides: Callable[[runs_pb2.Event], bool] = lambda event: False
    ) -> list[runs_pb2.Event]:
        """The events that may be seen. `besides`: which may be seen of any run."""
        kept = []
        for each in events:
            position = EventId.parse(each.id)
            past = position is not None and position <= self.until
            if not past or await self._resumable(each.run_id) or besides(each):
                kept.append(each)
        return kept

    async def _resumable(self, run_id: str) -> bool:
        if run_id not in self._known:
            self._known[run_id] = bool(run_id) and await self._is_resumable(run_id)
        return self._known[run_id]
