"""The JSON of the protocol's messages. Event data passes through as the bytes that came."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from threadmill_protos.runs.v1.runs_pb2 import ProtocolEvent

from threadmill_gateway import sse


class CommandFailed(Exception):
    """A command that cannot be carried out; `code` is one of the protocol's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def event_json(event: ProtocolEvent) -> bytes:
    """An event, as it is sent."""
    return b'{"type":"event","event_id":%b,"seq":%d,"method":%b,"params":{"namespace":%b,"timestamp":%d,"data":%b}}' % (
        orjson.dumps(event.event_id),
        event.seq,
        orjson.dumps(event.method),
        orjson.dumps(list(event.namespace)),
        event.timestamp_ms,
        event.data_json,
    )


def event_frames(events: Iterable[ProtocolEvent]) -> bytes:
    """Several events as server-sent ones, as one chunk."""
    return b"".join(sse.frame(event.method, event_json(event), str(event.seq)) for event in events)


def no_command(document: Any) -> bytes | None:
    """The answer to what is no command; None if it is one."""
    given = document if isinstance(document, dict) else {}
    if isinstance(given.get("id"), int) and isinstance(given.get("method"), str):
        return None
    return failure(
        given.get("id"),
        CommandFailed("invalid_argument", "Protocol commands must include an integer id and string method."),
    )


def success(command_id: int, result: Mapping[str, Any], seq: int = 0) -> bytes:
    """The answer to a command that was carried out. `seq`: events up to there are older than it; 0: unknown."""
    return orjson.dumps({"type": "success", "id": command_id, "result": result, "meta": {"applied_through_seq": seq}})


def failure(command_id: Any, failed: CommandFailed) -> bytes:
    """The answer to a command that was not; `None` as its id: it is about the stream itself."""
    return orjson.dumps({"type": "error", "id": command_id, "error": failed.code, "message": failed.message})
