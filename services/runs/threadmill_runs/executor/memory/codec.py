"""LangGraph's store operations to messages, and results back to items."""

from collections.abc import Sequence
from datetime import UTC
from itertools import zip_longest
from typing import Any

import orjson
from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    validate_op_namespace,
)
from threadmill_protos.store.v1 import store_pb2

from threadmill_runs.executor.memory.values import encode_operand, encode_value

OPERATORS = {
    "$eq": store_pb2.FilterCondition.OPERATOR_EQ,
    "$ne": store_pb2.FilterCondition.OPERATOR_NE,
    "$gt": store_pb2.FilterCondition.OPERATOR_GT,
    "$gte": store_pb2.FilterCondition.OPERATOR_GTE,
    "$lt": store_pb2.FilterCondition.OPERATOR_LT,
    "$lte": store_pb2.FilterCondition.OPERATOR_LTE,
}
WILDCARD = "*"
# Stands in a put for "the caller did not say", apart from None, which is "for ever". Compared by identity.
TTL_OF_THE_SERVICE = float("nan")


def encode_op(op: Op) -> store_pb2.Op | None:
    """The message of an operation; None for a search or a listing that finds nothing whatever is stored.

    Raises InvalidNamespaceError for a bad label, TypeError for a value that is no JSON, ValueError for numbers that
    JSON does not have and for a filter operator that the contract does not have.
    """
    validate_op_namespace(op)
    match op:
        case SearchOp(limit=0) | ListNamespacesOp(limit=0):
            return None  # to the service it would mean no limit, or the default
        case GetOp():
            get = store_pb2.GetOp(namespace=op.namespace, key=str(op.key), refresh_ttl=op.refresh_ttl)
            return store_pb2.Op(get=get)
        case PutOp(value=None):
            return store_pb2.Op(delete=store_pb2.DeleteOp(namespace=op.namespace, key=str(op.key)))
        case PutOp():
            return store_pb2.Op(put=_encode_put(op))
        case SearchOp():
            return store_pb2.Op(search=_encode_search(op))
        case ListNamespacesOp():
            listing = _encode_listing(op)
            return store_pb2.Op(list_namespaces=listing) if listing is not None else None
        case _:
            raise ValueError(f"Unknown operation type: {type(op)}")


def _encode_put(op: PutOp) -> store_pb2.PutOp:
    assert op.value is not None
    put = store_pb2.PutOp(namespace=op.namespace, key=str(op.key), value_json=encode_value(op.value, op.key))
    if op.ttl is None:
        put.keep_forever = True
    elif op.ttl is not TTL_OF_THE_SERVICE:
        put.ttl_minutes = op.ttl
    if op.index is not None:
        put.index.CopyFrom(store_pb2.PutOp.Index(paths=op.index or ()))
    return put


def _encode_search(op: SearchOp) -> store_pb2.SearchOp:
    return store_pb2.SearchOp(
        namespace_prefix=op.namespace_prefix,
        conditions=[condition for key, wanted in (op.filter or {}).items() for condition in _conditions(key, wanted)],
        limit=op.limit,
        offset=op.offset,
        query=op.query or "",
        refresh_ttl=op.refresh_ttl,
    )


def _conditions(key: str, wanted: Any) -> list[store_pb2.FilterCondition]:
    if not (isinstance(wanted, dict) and any(str(name).startswith("$") for name in wanted)):
        # Objects, in lists too, are patterns, in which the service finds operators further down.
        nested = isinstance(wanted, dict | list | tuple)
        operator = store_pb2.FilterCondition.OPERATOR_MATCH if nested else store_pb2.FilterCondition.OPERATOR_EQ
        return [store_pb2.FilterCondition(key=key, operator=operator, value_json=encode_operand(wanted, key))]
    for operator in wanted:
        if operator not in OPERATORS:
            raise ValueError(f"Unsupported operator: {operator}")
    return [
        store_pb2.FilterCondition(key=key, operator=OPERATORS[operator], value_json=encode_operand(operand, key))
        for operator, operand in wanted.items()
    ]


def _encode_listing(op: ListNamespacesOp) -> store_pb2.ListNamespacesOp | None:
    conditions = op.match_conditions or ()
    prefix = _merged([tuple(condition.path) for condition in _of_type(conditions, "prefix")])
    suffix = _merged([tuple(condition.path)[::-1] for condition in _of_type(conditions, "suffix")])
    if prefix is None or suffix is None:
        return None
    return store_pb2.ListNamespacesOp(
        prefix=prefix, suffix=suffix[::-1], max_depth=op.max_depth, limit=op.limit, offset=op.offset
    )


def _of_type(conditions: Sequence[MatchCondition], match_type: str) -> list[MatchCondition]:
    return [condition for condition in conditions if condition.match_type == match_type]


def _merged(patterns: list[tuple[str, ...]]) -> tuple[str, ...] | None:
    """The one pattern that matches what all of them match: the contract has one prefix and one suffix.

    None when they exclude each other.
    """
    merged = []
    for labels in zip_longest(*patterns, fillvalue=WILDCARD):
        literal = set(labels) - {WILDCARD}
        if len(literal) > 1:
            return None
        merged.append(literal.pop() if literal else WILDCARD)
    return tuple(merged)


def decode_result(op: Op, result: store_pb2.Result) -> Result:
    """What LangGraph expects as the result of an operation."""
    match op:
        case GetOp():
            return _decode_item(result.item) if result.HasField("item") else None
        case SearchOp():
            return [_decode_hit(item) for item in result.items.items]
        case ListNamespacesOp():
            return [tuple(namespace.labels) for namespace in result.namespaces.namespaces]
        case _:
            return None


def _decode_item(item: store_pb2.Item) -> Item:
    return Item(**_fields(item))


def _decode_hit(item: store_pb2.Item) -> SearchItem:
    return SearchItem(**_fields(item), score=item.score if item.HasField("score") else None)


def _fields(item: store_pb2.Item) -> dict[str, Any]:
    return {
        "namespace": tuple(item.namespace),
        "key": item.key,
        "value": orjson.loads(item.value_json),
        "created_at": item.create_time.ToDatetime(tzinfo=UTC),
        "updated_at": item.update_time.ToDatetime(tzinfo=UTC),
    }
