"""What the runs api refuses, each with the reason that the protos name."""

import grpc
from threadmill_chassis.errors import DomainError


class RunNotFound(DomainError):
    """No run has this id (on this thread)."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "RUN_NOT_FOUND"


class NotCancellable(DomainError):
    """Every named run has ended."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "NOT_CANCELLABLE"


class ThreadBusy(DomainError):
    """The thread has an active run and the strategy is `reject`."""

    status = grpc.StatusCode.ABORTED
    reason = "THREAD_BUSY"


class AssistantNotFound(DomainError):
    """No assistant has this id."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "ASSISTANT_NOT_FOUND"


class InvalidAssistant(DomainError):
    """Neither a UUID nor the name of a graph."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_ASSISTANT"


class AssistantExists(DomainError):
    """The id is taken."""

    status = grpc.StatusCode.ALREADY_EXISTS
    reason = "ASSISTANT_EXISTS"


class VersionNotFound(DomainError):
    """The assistant has no such version."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "VERSION_NOT_FOUND"


class GraphNotFound(DomainError):
    """No executor serves such a graph."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "GRAPH_NOT_FOUND"


class LeaseLost(DomainError):
    """Another attempt, a cancel or the reaper has taken the run over."""

    status = grpc.StatusCode.ABORTED
    reason = "FENCED"


class EventsMissing(DomainError):
    """A report lacks events that its executor has sent: the call is to be repeated, from what was acknowledged."""

    status = grpc.StatusCode.ABORTED
    reason = "EVENTS_MISSING"


class CronNotFound(DomainError):
    """No cron has this id."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "CRON_NOT_FOUND"


class InvalidSchedule(DomainError):
    """No cron expression, or one that never ticks."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_SCHEDULE"


class InvalidTimezone(DomainError):
    """No name of the IANA database."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_TIMEZONE"
