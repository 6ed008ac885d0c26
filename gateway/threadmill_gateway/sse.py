"""Framing of server-sent events: lines end in CRLF, fields in the order event, data, id."""

from collections.abc import Iterable

import orjson
from threadmill_protos.runs.v1.runs_pb2 import Event

HEARTBEAT = b": heartbeat\r\n\r\n"

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
}


def frame(name: str, data_json: bytes, event_id: str = "") -> bytes:
    """One event; the data is one line of ready JSON. Without an id the stream cannot be resumed there."""
    id_line = b"id: %b\r\n" % event_id.encode() if event_id else b""
    return b"event: %b\r\ndata: %b\r\n%b\r\n" % (name.encode(), data_json, id_line)


def frames(events: Iterable[Event], with_ids: bool) -> bytes:
    """Several events as one chunk, to be written at once."""
    return b"".join(frame(event.name, event.data_json, event.id if with_ids else "") for event in events)


def error_frame(error: dict[str, str]) -> bytes:
    """The `error` event `{error, message}`."""
    return frame("error", orjson.dumps(error))
