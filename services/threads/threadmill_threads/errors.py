"""What the threads service refuses, by reason."""

from typing import Self

import grpc
from threadmill_chassis.errors import DomainError, InvalidArgument


class ThreadNotFound(DomainError):
    """No thread has this id."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "THREAD_NOT_FOUND"

    @classmethod
    def of(cls, thread_id: object) -> Self:
        """With the wording of the REST contract."""
        return cls(f"Thread with ID {thread_id} not found")


class ThreadExists(DomainError):
    """A thread was to be created under an id that is taken."""

    status = grpc.StatusCode.ALREADY_EXISTS
    reason = "THREAD_EXISTS"

    @classmethod
    def of(cls, thread_id: object) -> Self:
        """With the wording of the REST contract."""
        return cls(f"Thread with ID {thread_id} already exists")


class ThreadBusy(DomainError):
    """A run is active on the thread, and the request is for threads at rest."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "THREAD_BUSY"

    @classmethod
    def of(cls, thread_id: object) -> Self:
        """Names the thread."""
        return cls(f"Thread {thread_id} has in-flight runs")


class Fenced(DomainError):
    """The caller lost the right to write: a later attempt holds it, its run has ended, or the thread is gone."""

    status = grpc.StatusCode.ABORTED
    reason = "FENCED"

    @classmethod
    def of(cls, thread_id: object, token: int) -> Self:
        """Names the thread and the stale token."""
        return cls(f"Token {token} may no longer write to thread {thread_id}")


class ChunksUnknown(DomainError):
    """Chunks or values that the caller left out may have been deleted since it learned of them."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHUNKS_UNKNOWN"

    @classmethod
    def of(cls, thread_id: object) -> Self:
        """Names the thread."""
        return cls(f"Chunks of thread {thread_id} may have been deleted; send them all")


class CheckpointGone(DomainError):
    """Values that the caller left out are not stored: the checkpoint that it goes on from has been deleted."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHECKPOINT_GONE"

    @classmethod
    def of(cls, thread_id: object) -> Self:
        """Names the thread."""
        return cls(f"The checkpoint that this write to thread {thread_id} starts from has been deleted")


class StateChanged(DomainError):
    """A run or another update changed the state on which this update was to build."""

    status = grpc.StatusCode.ABORTED
    reason = "STATE_CHANGED"


class InvalidThreadId(InvalidArgument):
    """A thread id that is no UUID."""

    reason = "INVALID_THREAD_ID"


class InvalidRunId(InvalidArgument):
    """A run id that is no UUID."""

    reason = "INVALID_RUN_ID"
