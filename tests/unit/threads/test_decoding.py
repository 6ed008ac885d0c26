"""Requests are checked before they reach the database."""

import pytest
from threadmill_chassis.errors import InvalidArgument
from threadmill_protos.threads.v1 import threads_pb2 as pb
from threadmill_threads import decoding
from threadmill_threads.domain import RestingState, Status, Ttl, TtlStrategy
from threadmill_threads.errors import InvalidRunId, InvalidThreadId

GOOD = "0198f0c2-7d3b-7e57-9a52-3f0a6a0e9c11"


def test_ids():
    assert str(decoding.thread_id(GOOD.upper())) == GOOD
    for bad in ("", "x", GOOD[:-1], GOOD.replace("-", ""), f"{{{GOOD}}}", f"urn:uuid:{GOOD}", f"{GOOD}\n"):
        with pytest.raises(InvalidThreadId):
            decoding.thread_id(bad)
        with pytest.raises(InvalidRunId):
            decoding.run_id(bad)
        with pytest.raises(InvalidThreadId, match="Invalid thread ID "):
            decoding.thread_ids([GOOD, bad])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", None),
        (b"{}", "{}"),
        (b' {"b": 1, "a": [1.50]} ', '{"b":1,"a":[1.5]}'),
        (rb'{"a":"\u0000"}', '{"a":"\ufffd"}'),
        (rb'{"a\u0000":[{"b":"\\u0000"}]}', '{"a\ufffd":[{"b":"\\\\u0000"}]}'),
    ],
)
def test_objects(data, expected):
    assert decoding.json_object(data, "metadata") == expected


@pytest.mark.parametrize("data", [b"[]", b"null", b"1", b"{", b"NaN", b'"\xff"', rb'{"a":"\ud800"}'])
def test_what_is_no_object(data):
    with pytest.raises(InvalidArgument, match="metadata"):
        decoding.json_object(data, "metadata")


def test_resting_states():
    assert decoding.resting(pb.RestingState()) == RestingState()
    message = pb.RestingState(state=pb.THREAD_STATE_ERROR, values_json=b"null", error_json=b"{}")
    assert decoding.resting(message) == RestingState(Status.ERROR, values="null", error="{}")
    for bad in (pb.RestingState(state=pb.THREAD_STATE_BUSY), pb.RestingState(values_json=b"\xff")):
        with pytest.raises(InvalidArgument):
            decoding.resting(bad)


def test_limits_and_ttls():
    assert decoding.limit(0, default=10) == 10
    assert decoding.limit(1000, default=10) == 1000
    for bad in (-1, 1001):
        with pytest.raises(InvalidArgument):
            decoding.limit(bad, default=10)
    assert decoding.ttl(pb.ThreadTtl(ttl_minutes=0.5)) == Ttl(TtlStrategy.DELETE, 0.5)
    for minutes in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidArgument):
            decoding.ttl(pb.ThreadTtl(ttl_minutes=minutes))


def test_an_empty_metadata_filter_is_none_but_an_empty_values_filter_wants_values():
    decoded = decoding.thread_filter(pb.ThreadFilter(metadata_json=b"{}", values_json=b"{ }"))
    assert (decoded.metadata, decoded.values) == (None, "{}")
