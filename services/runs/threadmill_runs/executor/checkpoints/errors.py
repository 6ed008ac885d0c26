"""What goes wrong when a run persists its checkpoints."""

import grpc
from threadmill_chassis.errors import DomainError
from threadmill_chassis.grpc_errors import reason_of


class LeaseLost(DomainError):
    """Another attempt of the run, or its end, holds the thread's fence: nothing that this one writes is accepted."""

    status = grpc.StatusCode.ABORTED
    reason = "FENCED"


class ThreadDeleted(RuntimeError):
    """The thread was deleted while its run was under way: no attempt can write any more, so the run ends with this."""

    def __init__(self) -> None:
        super().__init__("the thread was deleted while the run was under way")


def is_thread_deleted(error: BaseException) -> bool:
    """Whether a fenced call was refused because its thread is gone."""
    return isinstance(error, grpc.aio.AioRpcError) and reason_of(error) == "THREAD_NOT_FOUND"


class CheckpointDeleted(RuntimeError):
    """The run goes on from a checkpoint that was deleted meanwhile, with values that were never read here.

    What it wrote would lack them, so the run ends with this.
    """

    def __init__(self) -> None:
        super().__init__("the checkpoint that the run started from was deleted while the run was under way")


def is_checkpoint_deleted(error: BaseException) -> bool:
    """Whether a write was refused because something that it refers to is gone, and cannot be sent again."""
    return isinstance(error, grpc.aio.AioRpcError) and reason_of(error) == "CHECKPOINT_GONE"


class SaverClosed(DomainError):
    """The run was abandoned: its checkpointer takes no more writes, though user code may still be running."""

    status = grpc.StatusCode.CANCELLED
    reason = "SAVER_CLOSED"
