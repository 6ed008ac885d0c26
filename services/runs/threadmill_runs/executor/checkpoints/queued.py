"""What waits in a write queue, and how whoever waits for it is answered. Used by write_queue only."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from threadmill_protos.threads.v1 import checkpoints_pb2, threads_pb2

from threadmill_runs.executor.checkpoints.errors import LeaseLost, SaverClosed
from threadmill_runs.executor.checkpoints.known_chunks import Values

Op = checkpoints_pb2.WriteCheckpointsRequest.Op
Chunks = Mapping[bytes, bytes]


@dataclass(slots=True)
class Write:
    """One operation, its place in the order of all, and who waits for it, if anybody does.

    `base`: what a checkpoint shares with those before it, in case that these have been deleted.
    """

    place: int
    thread_id: str
    op: Op
    chunks: Chunks
    base: Values
    size: int
    done: Future[None] | None


@dataclass(slots=True)
class Ending:
    """The end of the run; done with whether threads took it."""

    thread_id: str
    end: threads_pb2.RunEnd
    done: Future[bool]


def answer(writes: list[Write], ending: Ending | None, error: Exception | None) -> None:
    """Tells all who wait that it is stored, or the error."""
    for write in writes:
        if write.done is None or write.done.done():
            continue
        if error is None:
            write.done.set_result(None)
        else:
            write.done.set_exception(fresh(error))
    if ending is not None and not ending.done.done():
        if error is None:
            ending.done.set_result(True)
        else:
            ending.done.set_exception(fresh(error))


def fresh(error: Exception) -> Exception:
    """A fresh error for each caller: one instance raised in several threads would mix their tracebacks."""
    return type(error)(error.message) if isinstance(error, LeaseLost | SaverClosed) else error
