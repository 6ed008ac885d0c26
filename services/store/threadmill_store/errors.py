"""What the store refuses, with stable reasons."""

import grpc
from threadmill_chassis.errors import DomainError, InvalidArgument


class InvalidNamespace(DomainError):
    """A label is empty or has a period or a NUL character."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_NAMESPACE"


class EmptyNamespace(DomainError):
    """An item is put into the namespace without labels."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "EMPTY_NAMESPACE"


class ReservedNamespace(DomainError):
    """An item is put under the root label that LangGraph keeps for itself."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "RESERVED_NAMESPACE"


class UnsupportedOperator(DomainError):
    """A filter compares by what is no operator."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "UNSUPPORTED_OPERATOR"


class TooSlow(DomainError):
    """The database needed longer for a batch than the settings allow; nothing was written."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "STATEMENT_TIMEOUT"


class IndexMismatch(DomainError):
    """The application wants semantic search and Postgres cannot serve it: pgvector is missing, for instance."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "INDEX_MISMATCH"


class IndexChanged(DomainError):
    """Executors embed differently from what this replica knew."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "INDEX_CHANGED"


class EmbeddingFailed(DomainError):
    """The application's embedder raised, or did not answer one fitting vector for each text."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "EMBEDDING_FAILED"


class EmbedderUnavailable(DomainError):
    """No executor answered in time. Not the status UNAVAILABLE, at which the caller's channel would try again: this
    service has already waited for an executor."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "EMBEDDER_UNAVAILABLE"


__all__ = [
    "EmbedderUnavailable",
    "EmbeddingFailed",
    "EmptyNamespace",
    "IndexChanged",
    "IndexMismatch",
    "InvalidArgument",
    "InvalidNamespace",
    "ReservedNamespace",
    "TooSlow",
    "UnsupportedOperator",
]
