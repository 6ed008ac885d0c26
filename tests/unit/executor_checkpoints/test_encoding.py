"""Encoding: every kind of value that graph state can hold becomes JSON, and nothing makes it raise."""

import dataclasses
import enum
import json
import uuid
from collections import deque, namedtuple
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Interrupt, Send
from pydantic import BaseModel
from threadmill_runs.executor.encoding import decode, encode

Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = "red"


class Model(BaseModel):
    name: str
    when: date


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


class Opaque:
    def __str__(self) -> str:
        return "opaque!"


class Hostile:
    def __str__(self) -> str:
        raise ValueError("no")

    def model_dump(self) -> dict[str, Any]:
        raise RuntimeError("never")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({"a": [1, 2.5, "ü", True]}, {"a": [1, 2.5, "ü", True]}),
        ((1, 2), [1, 2]),
        (Point(1, 2), {"x": 1, "y": 2}),
        (Pair(1, Point(2, 3)), {"left": 1, "right": {"x": 2, "y": 3}}),
        (Model(name="m", when=date(2026, 1, 2)), {"name": "m", "when": "2026-01-02"}),
        (frozenset({1}), [1]),
        (deque([1, 2]), [1, 2]),
        (b"abc", "YWJj"),
        (Colour.RED, "red"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (timedelta(seconds=90), 90.0),
        (Decimal("1.5"), 1.5),
        (Decimal("NaN"), None),
        (ValueError("bad"), "ValueError('bad')"),
        (float("nan"), None),
        (float("inf"), None),
        (Path("/tmp/x"), "/tmp/x"),
        (Send("n", {"a": 1}), {"node": "n", "arg": {"a": 1}}),
        (Opaque(), "opaque!"),
        ({7: "int", None: "none", True: "true"}, {"7": "int", "null": "none", "true": "true"}),
        ({(1, 2): "tuple"}, {"[1, 2]": "tuple"}),
        (int, "<class 'int'>"),
        (Model, repr(Model)),
    ],
)
def test_value(value: object, expected: object) -> None:
    assert decode(encode(value)) == expected


def test_messages_are_what_model_dump_gives() -> None:
    for message in (AIMessage("hi", id="1"), HumanMessage("there", id="2")):
        assert decode(encode(message)) == message.model_dump()
    keys = list(decode(encode(AIMessage("hi", id="1"))))
    assert keys[:6] == ["content", "additional_kwargs", "response_metadata", "type", "name", "id"]


def test_interrupt_has_the_stream_form() -> None:
    encoded = encode([Interrupt(value={"q": 1}, id="abc")])
    assert encoded == b'[{"value":{"q":1},"id":"abc","response_schema":null}]'


def test_surrogates_are_joined_or_replaced() -> None:
    assert decode(encode({"k\ud800": "a\ud83d\ude00b\udc00"})) == {"k\ufffd": "a\U0001f600b\ufffd"}


def test_integers_beyond_64_bits_keep_their_digits() -> None:
    assert json.loads(encode({"n": 10**30})) == {"n": 10**30}


def test_a_value_on_the_slow_road_is_the_same_as_on_the_fast_one() -> None:
    value = {
        "model": Model(name="m", when=date(2026, 1, 2)),
        "pair": Pair(Point(1, 2), {3}),
        "enum": {Colour.RED: b"x"},
    }
    fast = decode(encode(value))
    slow = decode(encode({**value, "bad": "\ud800"}))
    assert slow.pop("bad") == "\ufffd"
    assert slow == fast


def test_cycles_end() -> None:
    loop: dict[str, Any] = {"name": "loop"}
    loop["self"] = [loop]
    assert decode(encode(loop)) == {"name": "loop", "self": ["<cycle>"]}


def test_depth_is_bounded() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert b"<too deep>" in encode(deep)


def test_objects_that_refuse_everything_are_named() -> None:
    assert "Hostile object" in decode(encode({"h": Hostile()}))["h"]


def test_numpy_if_present() -> None:
    numpy = pytest.importorskip("numpy")
    assert decode(encode({"a": numpy.arange(3), "f": numpy.float32(0.5), "s": numpy.arange(6)[::2]})) == {
        "a": [0, 1, 2],
        "f": 0.5,
        "s": [0, 2, 4],
    }
