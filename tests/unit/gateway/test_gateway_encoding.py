"""Protobuf rows as REST documents."""

import orjson
import pytest
from threadmill_gateway import encode
from threadmill_gateway.pagination import page_headers
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from .gateway_script import NOW, NOW_TEXT, assistant_row, item_row, run_row, thread_row


def as_json(document: encode.Document) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(orjson.dumps(document))
    return found


def test_thread_that_never_ran_has_null_values_and_no_error_or_interrupts() -> None:
    found = as_json(encode.thread(thread_row()))
    assert found["values"] is None
    assert found["config"] == {}
    assert "error" not in found
    assert "interrupts" not in found


def test_thread_that_ran_shows_values_error_and_interrupts_as_they_came() -> None:
    row = thread_row(
        values_json=b'{"big":12345678901234567890123}',
        error_json=b"null",
        interrupts_json=b"{}",
        state=threads_pb2.THREAD_STATE_INTERRUPTED,
    )
    assert b'"values":{"big":12345678901234567890123}' in orjson.dumps(encode.thread(row))
    assert (
        as_json(encode.thread(row)).items()
        >= {"error": None, "interrupts": {}, "status": "interrupted", "created_at": NOW_TEXT}.items()
    )


def test_thread_ttl_is_shown_when_asked_for() -> None:
    ttl = threads_pb2.ThreadTtl(strategy=threads_pb2.TTL_STRATEGY_KEEP_LATEST, ttl_minutes=1.5, expire_time=NOW)
    assert as_json(encode.thread_with_ttl(thread_row(ttl=ttl)))["ttl"] == {
        "strategy": "keep_latest",
        "ttl_minutes": 1.5,
        "expires_at": NOW_TEXT,
    }
    assert as_json(encode.thread_with_ttl(thread_row()))["ttl"] is None


def test_selected_keeps_only_the_named_keys() -> None:
    document = encode.thread(thread_row(extracted_json=b'{"a":1}'))
    assert list(encode.selected(document, ["status"], ("extracted",))) == ["status", "extracted"]
    assert encode.selected(document, []) is document


def test_run_passes_kwargs_through() -> None:
    found = as_json(encode.run(run_row(state=runs_pb2.RUN_STATE_TIMEOUT, kwargs_json=b'{"input":null}')))
    assert found["status"] == "timeout"
    assert found["kwargs"] == {"input": None}
    assert found["multitask_strategy"] == "enqueue"
    assert found["langsmith_session_name"] is None


def test_assistant_without_description_has_null() -> None:
    found = as_json(encode.assistant(assistant_row()))
    assert found["description"] is None
    assert as_json(encode.assistant(assistant_row(description="")))["description"] == ""
    assert set(found) - set(encode.assistant_version(assistant_row())) == {"updated_at"}


def test_hit_has_a_score_where_an_item_has_none() -> None:
    assert "score" not in encode.item(item_row())
    assert encode.hit(item_row())["score"] is None
    assert encode.hit(item_row(score=0.5))["score"] == 0.5


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ({"a": "x\x00y\x00\x00"}, b'{"a":"xy"}'),
        ({"a": "\\u0000"}, b'{"a":"\\\\u0000"}'),
        ({"a": "\\\x00"}, b'{"a":"\\\\"}'),
    ],
)
def test_nul_characters_are_dropped_and_literal_escapes_stay(value: object, encoded: bytes) -> None:
    assert encode.dumps(value) == encoded


def test_storage_adds_up() -> None:
    channel = threads_pb2.ThreadStorage.Channel(channel="n", version_count=3, size_bytes=4)
    found = threads_pb2.ThreadStorage(
        checkpoint_count=2, checkpoint_bytes=10, channels=[channel], pending_write_count=1, pending_write_bytes=5
    )
    assert encode.storage("t", found) == {
        "thread_id": "t",
        "total_bytes": 19,
        "checkpoints": {"count": 2, "bytes": 10},
        "channel_values": {"count": 3, "bytes": 4, "by_channel": {"n": {"versions": 3, "bytes": 4}}},
        "pending_writes": {"count": 1, "bytes": 5},
    }


def test_pagination_total_says_how_far_rows_reach() -> None:
    assert page_headers(0, 10, True) == {"X-Pagination-Next": "10", "X-Pagination-Total": "11"}
    assert page_headers(10, 9, False) == {"X-Pagination-Total": "19"}
    assert page_headers(50, 0, False) == {"X-Pagination-Total": "50"}
