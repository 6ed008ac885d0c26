"""Protobuf messages to operations, and results to protobuf messages."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from threadmill_protos.store.v1 import store_pb2

from threadmill_store.domain import (
    Condition,
    Delete,
    Get,
    Item,
    Labels,
    ListNamespaces,
    Op,
    Operator,
    Put,
    Result,
    Search,
)
from threadmill_store.errors import InvalidArgument, UnsupportedOperator
from threadmill_store.patterns import conditions_of

OPERATORS: dict[int, Operator] = {
    store_pb2.FilterCondition.OPERATOR_UNSPECIFIED: "eq",
    store_pb2.FilterCondition.OPERATOR_EQ: "eq",
    store_pb2.FilterCondition.OPERATOR_NE: "ne",
    store_pb2.FilterCondition.OPERATOR_GT: "gt",
    store_pb2.FilterCondition.OPERATOR_GTE: "gte",
    store_pb2.FilterCondition.OPERATOR_LT: "lt",
    store_pb2.FilterCondition.OPERATOR_LTE: "lte",
}
DEFAULT_NAMESPACES = 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS_PER_DAY = 86_400


def decode_op(message: store_pb2.Op) -> Op:
    """The operation that a message holds; InvalidArgument when it holds none or one that we do not know."""
    match message.WhichOneof("op"):
        case "get":
            get = message.get
            return Get(tuple(get.namespace), get.key, get.refresh_ttl if get.HasField("refresh_ttl") else None)
        case "put":
            return _decode_put(message.put)
        case "delete":
            return Delete(tuple(message.delete.namespace), message.delete.key)
        case "search":
            return _decode_search(message.search)
        case "list_namespaces":
            return _decode_listing(message.list_namespaces)
        case _:
            raise InvalidArgument("an operation is empty or unknown to this server")


def _decode_put(put: store_pb2.PutOp) -> Put:
    try:
        value = put.value_json.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"value of {put.key!r} is not UTF-8") from error
    return Put(
        namespace=tuple(put.namespace),
        key=put.key,
        value=value,
        ttl_minutes=put.ttl_minutes if put.HasField("ttl_minutes") else None,
        keep_forever=put.keep_forever,
        paths=tuple(put.index.paths) if put.HasField("index") else None,
    )


def _decode_search(search: store_pb2.SearchOp) -> Search:
    return Search(
        prefix=tuple(search.namespace_prefix),
        conditions=tuple(one for condition in search.conditions for one in _decode_condition(condition)),
        limit=search.limit,
        offset=search.offset,
        query=search.query,
        refresh_ttl=search.refresh_ttl if search.HasField("refresh_ttl") else None,
    )


def _decode_condition(condition: store_pb2.FilterCondition) -> list[Condition]:
    if condition.operator == store_pb2.FilterCondition.OPERATOR_MATCH:
        return conditions_of(condition.key, condition.value_json)
    operator = OPERATORS.get(condition.operator)
    if operator is None:
        raise UnsupportedOperator(f"Unsupported operator: {condition.operator}")
    return [Condition(condition.key, operator, condition.value_json)]


def _decode_listing(listing: store_pb2.ListNamespacesOp) -> ListNamespaces:
    return ListNamespaces(
        prefix=tuple(listing.prefix),
        suffix=tuple(listing.suffix),
        max_depth=listing.max_depth if listing.HasField("max_depth") else None,
        limit=listing.limit or DEFAULT_NAMESPACES,
        offset=listing.offset,
    )


def encode_result(op: Op, result: Result) -> store_pb2.Result:
    """The message for the result of an operation; an empty one where there is nothing to tell."""
    match op, result:
        case Get(), Item() as item:
            return store_pb2.Result(item=encode_item(item))
        case Search(), list() as items:
            found = [encode_item(item) for item in items if isinstance(item, Item)]
            return store_pb2.Result(items=store_pb2.Items(items=found))
        case ListNamespaces(), list() as namespaces:
            listed = [_encode_namespace(labels) for labels in namespaces if isinstance(labels, tuple)]
            return store_pb2.Result(namespaces=store_pb2.Namespaces(namespaces=listed))
        case _:
            return store_pb2.Result()


def encode_item(item: Item) -> store_pb2.Item:
    """The message for an item."""
    return store_pb2.Item(
        namespace=item.namespace,
        key=item.key,
        value_json=item.value.encode(),
        create_time=_timestamp(item.created_at),
        update_time=_timestamp(item.updated_at),
        score=item.score,
    )


def _timestamp(moment: datetime) -> Timestamp:
    since = moment - EPOCH
    return Timestamp(seconds=since.days * SECONDS_PER_DAY + since.seconds, nanos=since.microseconds * 1000)


def _encode_namespace(labels: Labels) -> store_pb2.Namespace:
    return store_pb2.Namespace(labels=labels)
