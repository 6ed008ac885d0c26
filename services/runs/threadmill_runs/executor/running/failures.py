"""What clients may know of an exception: its class always, its message only for well-known classes."""

import traceback
from uuid import uuid4

import structlog
from langgraph.errors import EmptyInputError, GraphInterrupt, InvalidUpdateError

from threadmill_runs.executor.graphs.errors import GraphFailed, GraphNotFound

log = structlog.get_logger(__name__)

# Observed on the reference server; every other class may carry secrets of the application in its message.
SHOWN = (
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    TimeoutError,
    EmptyInputError,
    InvalidUpdateError,
    GraphInterrupt,
    # Our own words.
    GraphFailed,
    GraphNotFound,
)
MASKED = "An internal error occurred"


def describe(error: BaseException) -> dict[str, str]:
    """`{"error", "message"}` for clients; an exception group is described by its first member."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return {"error": type(error).__name__, "message": _message(error)}


def _message(error: BaseException) -> str:
    if type(error).__name__ == "HTTPException" and hasattr(error, "status_code"):
        return f"{error.status_code}: {getattr(error, 'detail', '')}"
    return str(error) if isinstance(error, SHOWN) else MASKED


def log_failure(error: BaseException, **ids: str) -> None:
    """The whole truth, for operators."""
    text = "".join(traceback.format_exception(error))
    log.error("run_failed", error_id=uuid4().hex, error=repr(error), trace=text, **ids)
