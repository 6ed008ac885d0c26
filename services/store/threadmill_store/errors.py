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


class IndexMismatch(DomainError):
    """The vectors in the database have another dimension than the settings; or pgvector is missing."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "INDEX_MISMATCH"


__all__ = ["EmptyNamespace", "IndexMismatch", "InvalidArgument", "InvalidNamespace", "ReservedNamespace"]
