"""Errors that a scripted service raises, by reason."""

import grpc
from threadmill_chassis.errors import DomainError


def reason(name: str, message: str = "no text") -> DomainError:
    """An error with this reason; the gateway's table goes by reason first, so the status matters little."""
    status = grpc.StatusCode.NOT_FOUND if name.endswith("NOT_FOUND") else grpc.StatusCode.FAILED_PRECONDITION
    error: DomainError = type("Scripted", (DomainError,), {"status": status, "reason": name})(message)
    return error
