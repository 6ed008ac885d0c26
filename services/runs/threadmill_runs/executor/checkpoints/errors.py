"""What goes wrong when a run persists its checkpoints."""

import grpc
from threadmill_chassis.errors import DomainError


class LeaseLost(DomainError):
    """Another attempt of the run, or its end, holds the thread's fence: nothing that this one writes is accepted."""

    status = grpc.StatusCode.ABORTED
    reason = "FENCED"


class SaverClosed(DomainError):
    """The run was abandoned: its checkpointer takes no more writes, though user code may still be running."""

    status = grpc.StatusCode.CANCELLED
    reason = "SAVER_CLOSED"
