"""The errors that services raise on purpose, each with a stable reason that travels over gRPC."""

from typing import ClassVar

import grpc


class DomainError(Exception):
    """Base of every expected failure. `reason` is the contract; the message is for people.

    Subclasses set the gRPC status and the reason; the interceptor of `grpc_errors` maps them onto the wire.
    """

    status: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata


class InvalidArgument(DomainError):
    """A request that no state of the system could make valid."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"


class Unavailable(DomainError):
    """A dependency (Postgres, Redis, another service) does not answer at the moment."""

    status = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"
