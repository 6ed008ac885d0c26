"""LangGraph's store operations as messages: values, filters, patterns, and what is refused before any call."""

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import pytest
from langchain_core.messages import HumanMessage
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from pydantic import BaseModel
from threadmill_protos.store.v1 import store_pb2
from threadmill_runs.executor.memory.codec import encode_op
from threadmill_runs.executor.memory.values import encode_value


class Model(BaseModel):
    at: datetime


@dataclasses.dataclass
class Data:
    inner: Model
    tags: frozenset[str]


class Pair(NamedTuple):
    left: int
    right: int


AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Model(at=AT), {"at": "2030-01-02T03:04:05+00:00"}),
        (Data(Model(at=AT), frozenset({"x"})), {"inner": {"at": "2030-01-02T03:04:05+00:00"}, "tags": ["x"]}),
        (AT, "2030-01-02T03:04:05+00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.10"), "1.10"),
        (PurePosixPath("/a"), "/a"),
        ((1, 2), [1, 2]),
        (Pair(1, 2), {"left": 1, "right": 2}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({1: "int key"}, {"1": "int key"}),
        ({"z": 1, "a": 2}, {"z": 1, "a": 2}),
    ],
)
def test_what_json_stores_cope_with_is_encoded(value: Any, expected: Any) -> None:
    assert orjson.loads(encode_value({"v": value}, "k")) == {"v": expected}


def test_messages_keep_their_fields() -> None:
    stored = orjson.loads(encode_value({"message": HumanMessage("hi", id="1")}, "k"))["message"]
    assert (stored["type"], stored["content"], stored["id"]) == ("human", "hi", "1")


@pytest.mark.parametrize("value", [object(), lambda: None, "\ud800", b"bytes", Data])
def test_what_json_cannot_hold_is_a_type_error_that_names_the_key(value: Any) -> None:
    with pytest.raises(TypeError, match="'my key'"):
        encode_value({"v": value}, "my key")


@pytest.mark.parametrize(
    "value",
    [2**70, -(2**64), math.nan, [1, {"x": (math.inf, None)}], Data(Model(at=AT), frozenset({-math.inf}))],  # type: ignore[arg-type]
)
def test_numbers_that_json_does_not_have_are_value_errors_that_name_the_key(value: Any) -> None:
    with pytest.raises(ValueError, match="'my key'"):
        encode_value({"v": value}, "my key")
    with pytest.raises(ValueError, match="'filtered'"):
        encode_op(SearchOp((), {"filtered": {"$gt": value}}))


def test_null_and_large_numbers_that_json_has_are_kept() -> None:
    assert orjson.loads(encode_value({"v": [None, 2**64 - 1, -(2**63), 1e308]}, "k"))["v"] == [
        None, 2**64 - 1, -(2**63), 1e308,
    ]  # fmt: skip


def test_a_circular_value_is_a_type_error_too() -> None:
    value: dict[str, Any] = {}
    value["self"] = value
    with pytest.raises(TypeError, match="'k'"):
        encode_value(value, "k")


def message(op: Any) -> store_pb2.Op:
    encoded = encode_op(op)
    assert encoded is not None
    return encoded


def test_puts_carry_ttl_and_index() -> None:
    value: Mapping[str, Any] = OrderedDict(b=1, a=2)
    put = message(PutOp(("n",), "k", value, ["a"], 1.5)).put
    assert (put.value_json, put.ttl_minutes, list(put.index.paths)) == (b'{"b":1,"a":2}', 1.5, ["a"])
    unset = message(PutOp(("n",), "k", {})).put
    assert not unset.HasField("ttl_minutes")
    assert not unset.HasField("index")
    unindexed = message(PutOp(("n",), "k", {}, index=False)).put
    assert unindexed.HasField("index")
    assert not unindexed.index.paths


def test_a_put_of_none_is_a_delete() -> None:
    assert message(PutOp(("n",), "k", None)).delete == store_pb2.DeleteOp(namespace=["n"], key="k")


def test_filters_become_conditions() -> None:
    search = message(SearchOp(("n",), {"a": {"x": 1}, "b": {"$gte": 1, "$lt": 3}, "c": None})).search
    found = [
        (condition.key, store_pb2.FilterCondition.Operator.Name(condition.operator), condition.value_json)
        for condition in search.conditions
    ]
    assert found == [
        ("a", "OPERATOR_MATCH", b'{"x":1}'),
        ("b", "OPERATOR_GTE", b"1"),
        ("b", "OPERATOR_LT", b"3"),
        ("c", "OPERATOR_EQ", b"null"),
    ]


def test_unknown_operators_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Unsupported operator: \$in"):
        encode_op(SearchOp((), {"a": {"$in": [1]}}))


@pytest.mark.parametrize(
    "op", [GetOp(("a.b",), "k"), PutOp(("",), "k", {}), SearchOp(("a", "b.c")), PutOp(("a\0",), "k", None)]
)
def test_bad_labels_are_refused_before_any_call(op: Any) -> None:
    with pytest.raises(InvalidNamespaceError):
        encode_op(op)


def listing(*conditions: tuple[str, tuple[str, ...]]) -> store_pb2.ListNamespacesOp | None:
    matches = tuple(MatchCondition(match_type, path) for match_type, path in conditions)  # type: ignore[arg-type]
    message = encode_op(ListNamespacesOp(match_conditions=matches, max_depth=0))
    return message.list_namespaces if message else None


def test_several_patterns_merge_into_the_one_that_means_the_same() -> None:
    merged = listing(("prefix", ("a", "*")), ("prefix", ("*", "b", "c")), ("suffix", ("z",)), ("suffix", ("y", "*")))
    assert merged is not None
    assert (list(merged.prefix), list(merged.suffix)) == (["a", "b", "c"], ["y", "z"])
    assert merged.HasField("max_depth")


def test_what_finds_nothing_whatever_is_stored_is_not_asked_for() -> None:
    assert listing(("prefix", ("a",)), ("prefix", ("b",))) is None
    assert listing(("suffix", ("a", "*")), ("suffix", ("b", "c"))) is None
    assert encode_op(SearchOp((), limit=0)) is None
    assert encode_op(ListNamespacesOp(limit=0)) is None
    with pytest.raises(InvalidNamespaceError):
        encode_op(SearchOp(("a.b",), limit=0))
