"""What is measured: the workloads, their numbers of clients, and how long each runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table. `seconds` of load in a full run; a quick run takes a quarter."""

    workload: str
    clients: int
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.workload}@{self.clients}"


ENTRIES = [
    Entry("create_thread", 16, 4),
    Entry("get_state", 16, 4),
    Entry("store_triple", 16, 4),
    Entry("wait", 1, 6),
    Entry("wait", 16, 8),
    Entry("wait", 64, 8),
    Entry("ten_steps", 8, 8),
    Entry("background_join", 16, 8),
    Entry("stateless_wait", 16, 8),
    Entry("stream", 1, 6),
    Entry("stream", 16, 10),
    Entry("stream", 64, 10),
    Entry("idle_streams", 1000, 6),
    Entry("mixed", 16, 120),
]
QUICK_SHARE = 0.25


def chosen(names: list[str], quick: bool) -> list[Entry]:
    """The entries whose name or workload is named (all for none), shortened for a quick run."""
    kept = [entry for entry in ENTRIES if not names or entry.workload in names or entry.name in names]
    share = QUICK_SHARE if quick else 1.0
    return [Entry(entry.workload, entry.clients, entry.seconds * share) for entry in kept]
