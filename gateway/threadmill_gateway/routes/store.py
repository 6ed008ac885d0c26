"""The store: long-term memory by namespace and key."""

from collections.abc import Iterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from threadmill_protos.store.v1 import store_pb2

from threadmill_gateway import encode
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import PlainRefusal, refuse
from threadmill_gateway.models import answers
from threadmill_gateway.models.base import JsonObject
from threadmill_gateway.models.store import ItemDelete, ItemPut, ItemSearch, NamespaceSearch
from threadmill_gateway.requests import query_flag, read
from threadmill_gateway.routes.endpoint import Endpoint, Query

OPERATORS = {
    "$eq": store_pb2.FilterCondition.OPERATOR_EQ,
    "$ne": store_pb2.FilterCondition.OPERATOR_NE,
    "$gt": store_pb2.FilterCondition.OPERATOR_GT,
    "$gte": store_pb2.FilterCondition.OPERATOR_GTE,
    "$lt": store_pb2.FilterCondition.OPERATOR_LT,
    "$lte": store_pb2.FilterCondition.OPERATOR_LTE,
}

OPERATOR_MATCH = store_pb2.FilterCondition.OPERATOR_MATCH


async def put_item(request: Request, gateway: Gateway) -> Response:
    """Writes an item."""
    body = await read(request, ItemPut, gateway.settings.http_max_request_body_bytes)
    _check_labels(body.namespace)
    _check_writable(body.namespace)
    put = store_pb2.PutOp(
        namespace=body.namespace, key=body.key, value_json=encode.exact(body.value), ttl_minutes=body.ttl
    )
    # Null is an answer, "for ever"; only what is absent is left to the server's default.
    put.keep_forever = body.ttl is None and "ttl" in body.model_fields_set
    if body.index is not None:
        put.index.CopyFrom(store_pb2.PutOp.Index(paths=body.index or ()))
    await gateway.store_calls.ask(store_pb2.Op(put=put))
    return encode.no_content()


def _check_labels(namespace: Sequence[str]) -> None:
    for label in namespace:
        if not label or "." in label:
            raise PlainRefusal(422, f"Namespace label '{label}' must be a non-empty string without periods")


def _check_writable(namespace: Sequence[str]) -> None:
    if not namespace:
        raise refuse(400, "Namespace cannot be empty.")
    if namespace[0] == "langgraph":
        raise refuse(400, f'Root label for namespace cannot be "langgraph". Got: {tuple(namespace)}')


async def get_item(request: Request, gateway: Gateway) -> Response:
    """One item, or `null`."""
    given = request.query_params.getlist("namespace") or [""]
    # Labels joined by periods, or repeated, as the Agent Protocol has it.
    namespace = given[0].split(".") if len(given) == 1 else given
    _check_labels(namespace)
    key = request.query_params.get("key")
    if not key:
        return encode.document_response({"error": "Key is required"}, status=400)
    refresh = query_flag(request, "refresh_ttl") if request.query_params.get("refresh_ttl") else None
    found = await gateway.store_calls.ask(
        store_pb2.Op(get=store_pb2.GetOp(namespace=namespace, key=key, refresh_ttl=refresh))
    )
    return encode.document_response(encode.item(found.item) if found.HasField("item") else None)


async def delete_item(request: Request, gateway: Gateway) -> Response:
    """Deletes an item, if it is there."""
    body = await read(request, ItemDelete, gateway.settings.http_max_request_body_bytes)
    _check_labels(body.namespace)
    if body.namespace:
        await gateway.store_calls.ask(store_pb2.Op(delete=store_pb2.DeleteOp(namespace=body.namespace, key=body.key)))
    return encode.no_content()


async def search_items(request: Request, gateway: Gateway) -> Response:
    """Items under a prefix."""
    body = await read(request, ItemSearch, gateway.settings.http_max_request_body_bytes)
    _check_labels(body.namespace_prefix)
    search = store_pb2.SearchOp(
        namespace_prefix=body.namespace_prefix,
        conditions=conditions(body.filter or {}),
        limit=body.limit,
        offset=body.offset,
        query=body.query or "",
        refresh_ttl=body.refresh_ttl,
    )
    found = await gateway.store_calls.ask(store_pb2.Op(search=search))
    return encode.document_response({"items": [encode.hit(row) for row in found.items.items]})


def conditions(given: JsonObject) -> Iterator[store_pb2.FilterCondition]:
    """The conditions of a filter: an object with `$` keys holds operators; one without is a pattern, which may hold
    operators further down; any other value means equality."""
    for key, wanted in given.items():
        if isinstance(wanted, dict) and any(name.startswith("$") for name in wanted):
            for name, operand in wanted.items():
                if name not in OPERATORS:
                    raise refuse(400, f"Unsupported operator: {name}")
                yield _condition(key, OPERATORS[name], operand)
        else:
            nested = isinstance(wanted, dict | list)
            yield _condition(key, OPERATOR_MATCH if nested else store_pb2.FilterCondition.OPERATOR_EQ, wanted)


def _condition(
    key: str, operator: store_pb2.FilterCondition.Operator.ValueType, operand: Any
) -> store_pb2.FilterCondition:
    return store_pb2.FilterCondition(key=key, operator=operator, value_json=encode.exact(operand))


async def list_namespaces(request: Request, gateway: Gateway) -> Response:
    """Distinct namespaces."""
    body = await read(request, NamespaceSearch, gateway.settings.http_max_request_body_bytes)
    _check_labels([*(body.prefix or ()), *(body.suffix or ())])
    if body.limit == 0:
        return encode.document_response({"namespaces": []})
    listing = store_pb2.ListNamespacesOp(
        prefix=body.prefix or (),
        suffix=body.suffix or (),
        max_depth=body.max_depth,
        limit=body.limit,
        offset=body.offset,
    )
    found = await gateway.store_calls.ask(store_pb2.Op(list_namespaces=listing))
    return encode.document_response({"namespaces": [list(one.labels) for one in found.namespaces.namespaces]})


_ITEMS = "/store/items"
# 502: the embedder failed.
_EMBEDDED_ERRORS = (400, 422, 502)
ENDPOINTS = (
    Endpoint("PUT", _ITEMS, put_item, "Write an item", ItemPut, status=204, errors=_EMBEDDED_ERRORS, bare=(422,)),
    Endpoint(
        "GET",
        _ITEMS,
        get_item,
        "Read an item",
        answer=answers.Item | None,
        errors=(422,),
        bare=(422,),
        also=((400, answers.KeyMissing),),
        query=(
            Query("namespace", "Labels joined by periods, or one label each time that it is repeated"),
            Query("key", "Key within the namespace"),
            Query("refresh_ttl", "Restart the time to live", {"type": "boolean"}),
        ),
    ),
    Endpoint("DELETE", _ITEMS, delete_item, "Delete an item", ItemDelete, status=204, errors=(422,), bare=(422,)),
    Endpoint(
        "POST",
        _ITEMS + "/search",
        search_items,
        "Search items",
        ItemSearch,
        answers.Hits,
        errors=_EMBEDDED_ERRORS,
        bare=(422,),
    ),
    Endpoint(
        "POST",
        "/store/namespaces",
        list_namespaces,
        "List namespaces",
        NamespaceSearch,
        answers.Namespaces,
        errors=(422,),
        bare=(422,),
    ),
)
