"""Operations to parameters of statements, and rows to items."""

from collections.abc import Sequence
from typing import Any

import orjson

from threadmill_store.domain import Condition, Delete, Get, Item, Labels, Put, Search

# Sorts after every namespace that validation admits: a label of the highest character, longer than any may be.
END: Labels = ("\U0010ffff" * 501,)


def beyond(prefix: Labels) -> Labels:
    """The upper bound, exclusive, of the namespaces that begin with these labels (see the migration)."""
    return (*prefix[:-1], prefix[-1] + "\x01") if prefix else END


def page_parameters(search: Search) -> dict[str, Any]:
    """The range of namespaces and the page of a search."""
    return {
        "first": search.prefix,
        "beyond": beyond(search.prefix),
        "limit": search.limit,
        "offset": search.offset,
    }


def filter_parameters(conditions: Sequence[Condition]) -> dict[str, str]:
    """What an index can find of the conditions, and all of them, as JSON for the queries that filter."""
    # Null equals a missing key, which containment does not find; and what it finds too much is checked again.
    contained = {
        condition.key: orjson.Fragment(condition.operand)
        for condition in conditions
        if condition.operator == "eq" and condition.operand.strip() != b"null"
    }
    checked = [
        {"key": condition.key, "operator": condition.operator, "operand": orjson.Fragment(condition.operand)}
        for condition in conditions
    ]
    return {"contained": orjson.dumps(contained).decode(), "conditions": orjson.dumps(checked).decode()}


def identity_parameters(ops: Sequence[Get] | Sequence[Put] | Sequence[Delete]) -> dict[str, list[str]]:
    """Namespaces and keys. Arrays of arrays of unequal length have no type in Postgres: namespaces go as JSON."""
    return {"namespaces": [orjson.dumps(op.namespace).decode() for op in ops], "keys": [op.key for op in ops]}


def put_parameters(puts: Sequence[Put]) -> dict[str, Any]:
    """Everything that is written of items."""
    return {
        **identity_parameters(puts),
        "values": [put.value for put in puts],
        "ttls": [put.ttl_minutes for put in puts],
        "paths": [None if put.paths is None else orjson.dumps(put.paths).decode() for put in puts],
    }


def item_of(row: Any) -> Item:
    """The item of a row."""
    return Item(
        id=row["id"],
        namespace=tuple(row["namespace"]),
        key=row["key"],
        value=row["value"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        expires=row["expires"],
    )
