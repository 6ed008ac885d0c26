"""What goes wrong with graphs, by reason."""

import grpc
from threadmill_chassis.errors import DomainError


class ConfigError(DomainError):
    """langgraph.json is missing, malformed, or asks for something that is not supported."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CONFIG_ERROR"


class GraphNotFound(DomainError):
    """No graph has this id; the message lists those that exist."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "GRAPH_NOT_FOUND"


class ThreadNotFound(DomainError):
    """No thread has this id."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "THREAD_NOT_FOUND"


class GraphFailed(DomainError):
    """The graph cannot be used: its import failed, or its factory gave something else than a graph."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "GRAPH_FAILED"


class UserError(DomainError):
    """The user's code, or LangGraph on its behalf, refused the request."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "USER_ERROR"


class StateContended(DomainError):
    """The thread's state changed during each of many attempts to update it."""

    status = grpc.StatusCode.ABORTED
    reason = "STATE_CONTENDED"


class CheckpointNotFound(DomainError):
    """An update names a checkpoint that its thread does not have."""

    status = grpc.StatusCode.NOT_FOUND
    reason = "CHECKPOINT_NOT_FOUND"
