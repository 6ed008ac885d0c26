"""Server-sent events on the wire, byte by byte."""

from threadmill_gateway import sse
from threadmill_protos.runs.v1.runs_pb2 import Event


def test_frame_without_id_ends_after_the_data() -> None:
    assert sse.frame("values", b'{"n":1}') == b'event: values\r\ndata: {"n":1}\r\n\r\n'


def test_frame_with_id_puts_it_last() -> None:
    assert sse.frame("updates|child:1", b"{}", "17-0") == b"event: updates|child:1\r\ndata: {}\r\nid: 17-0\r\n\r\n"


def test_batch_becomes_one_chunk_with_ids_only_when_wanted() -> None:
    events = [Event(id="1-0", name="a", data_json=b"1"), Event(id="1-1", name="b", data_json=b"2")]
    assert sse.frames(events, with_ids=False) == b"event: a\r\ndata: 1\r\n\r\nevent: b\r\ndata: 2\r\n\r\n"
    assert sse.frames(events, with_ids=True).count(b"id: 1-") == 2


def test_heartbeat_is_a_comment() -> None:
    assert sse.HEARTBEAT == b": heartbeat\r\n\r\n"


def test_error_frame() -> None:
    assert sse.error_frame({"error": "E", "message": "m"}) == (
        b'event: error\r\ndata: {"error":"E","message":"m"}\r\n\r\n'
    )
