"""What an operation must fulfil before it reaches the database."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import orjson

from threadmill_store.domain import Condition, Delete, Get, Labels, ListNamespaces, Op, Put, Search
from threadmill_store.errors import EmptyNamespace, InvalidArgument, InvalidNamespace, ReservedNamespace

MAX_OPS = 1000
# Each is text of a statement.
MAX_CONDITIONS = 200
MAX_NAMES = 1000
# Namespace and key are an entry of a B-tree, which holds 2704 bytes; each label costs up to 8 of them on top.
MAX_IDENTITY_BYTES = 2000
LABEL_OVERHEAD_BYTES = 8
# As JSON writes it.
NUL = "\\u0000"
# Far enough (1900 years) for everyone, and a timestamp can still hold it.
MAX_TTL_MINUTES = 1e9


def check_batch(ops: list[Op]) -> None:
    """Raises the first thing wrong with a batch: a DomainError with status INVALID_ARGUMENT."""
    if not 1 <= len(ops) <= MAX_OPS:
        raise InvalidArgument(f"a batch holds 1 to {MAX_OPS} operations, not {len(ops)}")
    for op in ops:
        check(op)


def check(op: Op) -> None:
    """Raises what is wrong with one operation, before anything of its batch is executed."""
    match op:
        case Get() | Delete():
            _check_identity(op.namespace, op.key)
        case Put():
            _check_put(op)
        case Search():
            _check_labels(op.prefix)
            _check_page(op.limit, op.offset)
            _check_conditions(op.conditions)
        case ListNamespaces():
            _check_labels(op.prefix)
            _check_labels(op.suffix)
            _check_page(op.limit, op.offset)
            if op.max_depth is not None and op.max_depth < 0:
                raise InvalidArgument(f"max_depth must be at least 0, not {op.max_depth}")


def _check_put(op: Put) -> None:
    if not op.namespace:
        raise EmptyNamespace("Namespace cannot be empty.")
    _check_identity(op.namespace, op.key)
    if op.namespace[0] == "langgraph":
        raise ReservedNamespace(f'Root label for namespace cannot be "langgraph". Got: {op.namespace!r}')
    for path in op.paths or ():
        _check_path(path)
    _check_text(op.value, f"the value of {op.key!r}")
    ttl = op.ttl_minutes
    if ttl is not None and op.keep_forever:
        raise InvalidArgument("an item that is kept for ever has no ttl")
    if ttl is not None and not (math.isfinite(ttl) and 0 < ttl <= MAX_TTL_MINUTES):
        raise InvalidArgument(f"ttl must be greater than 0 and at most {MAX_TTL_MINUTES:.0f} minutes, not {ttl}")


def _check_path(path: str) -> None:
    if not path or "\0" in path:
        raise InvalidArgument(f"Path {path!r} must be a non-empty string without NUL characters")


def _check_identity(namespace: Labels, key: str) -> None:
    _check_labels(namespace)
    if "\0" in key:
        raise InvalidArgument(f"Key {key!r} must not contain NUL characters")
    if _size(namespace) + len(key.encode()) > MAX_IDENTITY_BYTES:
        raise InvalidArgument(f"Namespace and key are longer than {MAX_IDENTITY_BYTES} bytes together")


def _check_labels(namespace: Labels) -> None:
    for label in namespace:
        if not label or "." in label:
            raise InvalidNamespace(f"Namespace label '{label}' must be a non-empty string without periods")
        if "\0" in label:
            raise InvalidNamespace(f"Namespace label {label!r} must not contain NUL characters")
    if _size(namespace) > MAX_IDENTITY_BYTES:
        raise InvalidNamespace(f"Namespace is longer than {MAX_IDENTITY_BYTES} bytes")


def _size(namespace: Labels) -> int:
    return sum(len(label.encode()) + LABEL_OVERHEAD_BYTES for label in namespace)


def _check_page(limit: int, offset: int) -> None:
    if limit < 0 or offset < 0:
        raise InvalidArgument(f"limit and offset must be at least 0, not {limit} and {offset}")


def _check_conditions(conditions: Sequence[Condition]) -> None:
    if len(conditions) > MAX_CONDITIONS:
        raise InvalidArgument(f"a filter has at most {MAX_CONDITIONS} conditions, not {len(conditions)}")
    if sum(1 + len(condition.below) for condition in conditions) > MAX_NAMES:
        raise InvalidArgument(f"a filter names at most {MAX_NAMES} keys, those on the way to each value included")
    for condition in conditions:
        _check_condition(condition)


def _check_condition(condition: Condition) -> None:
    if any("\0" in name for name in (condition.key, *condition.below)):
        raise InvalidArgument(f"Filter key {condition.key!r} must not contain NUL characters")
    try:
        orjson.loads(condition.operand)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"Filter operand of {condition.key!r} is not JSON: {error}") from error
    _check_text(condition.operand.decode(), f"the filter on {condition.key!r}")


def _check_text(document: str, subject: str) -> None:
    """Postgres has no text with NUL characters. Says where one is; JSON that cannot be read is left to Postgres."""
    if NUL not in document:
        return
    with suppress(orjson.JSONDecodeError):
        place = next(_with_nul(orjson.loads(document), ()), None)
        if place is not None:
            where = f", as it does at {'.'.join(place)!r}" if place else ""
            raise InvalidArgument(f"{subject} must not contain the character U+0000{where}")


def _with_nul(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The ways to texts and keys with a NUL."""
    match value:
        case str() if "\0" in value:
            yield place
        case dict():
            for key, inner in value.items():
                if "\0" in key:
                    yield (*place, key)
                yield from _with_nul(inner, (*place, key))
        case list():
            for position, inner in enumerate(value):
                yield from _with_nul(inner, (*place, str(position)))
