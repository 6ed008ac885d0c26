"""Operations to parameters of statements, and rows to items."""

from collections.abc import Sequence
from typing import Any

import orjson

from threadmill_store.domain import Delete, Get, Item, Labels, Put

# Sorts after every namespace that validation admits: a label of the highest character, longer than any may be.
END: Labels = ("\U0010ffff" * 501,)


def beyond(prefix: Labels) -> Labels:
    """The upper bound, exclusive, of the namespaces that begin with these labels (see the migration)."""
    return (*prefix[:-1], prefix[-1] + "\x01") if prefix else END


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
