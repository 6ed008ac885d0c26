"""What requests say, checked: ids, documents, limits and TTLs, as domain values."""

import re
from collections.abc import Iterable, Mapping
from uuid import UUID

import orjson
from threadmill_chassis.errors import InvalidArgument
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.threads.v1 import threads_pb2 as pb

from threadmill_threads.domain import (
    Json,
    RestingState,
    RunId,
    SortBy,
    Status,
    ThreadFilter,
    ThreadId,
    ThreadSearch,
    Ttl,
    TtlStrategy,
)
from threadmill_threads.errors import InvalidRunId, InvalidThreadId
from threadmill_threads.search import COLUMNS

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
MAX_LIMIT = 1000
# A thousand years: far beyond, the sum with a date would leave the range of timestamps.
MAX_TTL_MINUTES = 60 * 24 * 365 * 1000
EMPTY = Json("{}")

STATUSES = {
    pb.THREAD_STATE_IDLE: Status.IDLE,
    pb.THREAD_STATE_BUSY: Status.BUSY,
    pb.THREAD_STATE_INTERRUPTED: Status.INTERRUPTED,
    pb.THREAD_STATE_ERROR: Status.ERROR,
}
STRATEGIES = {
    pb.TTL_STRATEGY_UNSPECIFIED: TtlStrategy.DELETE,
    pb.TTL_STRATEGY_DELETE: TtlStrategy.DELETE,
    pb.TTL_STRATEGY_KEEP_LATEST: TtlStrategy.KEEP_LATEST,
}
SORTS = {
    pb.SearchThreadsRequest.SORT_BY_UNSPECIFIED: SortBy.UPDATED_AT,
    pb.SearchThreadsRequest.SORT_BY_THREAD_ID: SortBy.THREAD_ID,
    pb.SearchThreadsRequest.SORT_BY_STATE: SortBy.STATUS,
    pb.SearchThreadsRequest.SORT_BY_CREATE_TIME: SortBy.CREATED_AT,
    pb.SearchThreadsRequest.SORT_BY_UPDATE_TIME: SortBy.UPDATED_AT,
    pb.SearchThreadsRequest.SORT_BY_STATE_UPDATE_TIME: SortBy.STATE_UPDATED_AT,
}


def thread_id(text: str) -> ThreadId:
    """Raises InvalidThreadId."""
    if not UUID_TEXT.match(text):
        raise InvalidThreadId("Invalid thread ID: must be a UUID")
    return ThreadId(UUID(text))


def thread_ids(texts: Iterable[str]) -> list[ThreadId]:
    """Raises InvalidThreadId, which names the first bad one."""
    texts = list(texts)
    for text in texts:
        if not UUID_TEXT.match(text):
            raise InvalidThreadId(f"Invalid thread ID {text}")
    return [ThreadId(UUID(text)) for text in texts]


def run_id(text: str) -> RunId:
    """Raises InvalidRunId."""
    if not UUID_TEXT.match(text):
        raise InvalidRunId("Invalid run ID: must be a UUID")
    return RunId(UUID(text))


def document(data: bytes) -> Json | None:
    """A JSON text that passes through undecoded; empty bytes are none."""
    return Json(_text(data)) if data else None


def json_object(data: bytes, name: str) -> Json | None:
    """A small JSON object, checked, in one spelling and without NUL (as U+FFFD), which Postgres cannot search."""
    if not data:
        return None
    if data == b"{}":
        return EMPTY
    try:
        loaded = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"{name} is not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise InvalidArgument(f"{name} must be a JSON object")
    return Json(orjson.dumps(_without_nul(loaded) if b"\\u0000" in data else loaded).decode())


def ttl(message: pb.ThreadTtl) -> Ttl:
    """Raises InvalidArgument for minutes that are not positive."""
    return Ttl(strategy(message.strategy), ttl_minutes(message))


def ttl_minutes(message: pb.ThreadTtl) -> float:
    """Raises InvalidArgument for minutes that are not positive."""
    if not 0 < message.ttl_minutes <= MAX_TTL_MINUTES:
        raise InvalidArgument("ttl must be a positive number of minutes")
    return message.ttl_minutes


def strategy(value: pb.TtlStrategy.ValueType) -> TtlStrategy:
    """Unspecified means DELETE."""
    if value not in STRATEGIES:
        raise InvalidArgument(f"unknown TTL strategy {value}")
    return STRATEGIES[value]


def limit(value: int, default: int) -> int:
    """0 means the default. Raises InvalidArgument outside 1 to 1000."""
    if not 0 <= value <= MAX_LIMIT:
        raise InvalidArgument(f"limit must be between 1 and {MAX_LIMIT}")
    return value or default


def resting(message: pb.RestingState) -> RestingState:
    """Raises InvalidArgument for BUSY, in which no thread rests."""
    if message.state == pb.THREAD_STATE_BUSY:
        raise InvalidArgument("a thread cannot rest in state BUSY")
    return RestingState(
        status=_status(message.state),
        values=document(message.values_json),
        interrupts=document(message.interrupts_json),
        error=document(message.error_json),
    )


def thread_filter(message: pb.ThreadFilter) -> ThreadFilter:
    """Raises InvalidArgument."""
    metadata = json_object(message.metadata_json, "metadata")
    return ThreadFilter(
        thread_ids=tuple(thread_ids(message.thread_ids)),
        metadata=None if metadata == EMPTY else metadata,
        values=json_object(message.values_json, "values"),
        status=_status(message.state),
    )


def search(message: pb.SearchThreadsRequest) -> ThreadSearch:
    """Raises InvalidArgument; paths of `extract` are checked where they are compiled."""
    if message.offset < 0:
        raise InvalidArgument("offset must not be negative")
    unknown = [column for column in message.select if column not in COLUMNS]
    if unknown:
        raise InvalidArgument(f"Select field '{unknown[0]}' must be one of: {', '.join(COLUMNS)}")
    if message.sort_by not in SORTS:
        raise InvalidArgument(f"unknown sort column {message.sort_by}")
    return ThreadSearch(
        matching=thread_filter(message.filter),
        limit=limit(message.limit, default=10),
        offset=message.offset,
        sort_by=SORTS[message.sort_by],
        ascending=message.sort_order == common_pb2.SORT_ORDER_ASCENDING,
        columns=tuple(message.select),
        extract=dict(message.extract),
    )


def _status(value: pb.ThreadState.ValueType) -> Status | None:
    if value and value not in STATUSES:
        raise InvalidArgument(f"unknown thread state {value}")
    return STATUSES.get(value)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument("a JSON document is not UTF-8") from error


def _without_nul(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, Mapping):
        return {key.replace("\0", "\ufffd"): _without_nul(item) for key, item in value.items()}
    return value
