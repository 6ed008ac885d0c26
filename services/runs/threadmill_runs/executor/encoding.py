"""JSON of whatever a graph's state or stream holds: the executor's one way from Python objects to wire bytes.

`encode` takes the fast road (orjson with a hook for the types that it does not know) and, only when that fails
on a lone surrogate, a cycle, an integer beyond 64 bits or an exotic key, walks the value once to make it plain.
"""

import base64
import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from re import Pattern
from typing import Any
from uuid import UUID

import orjson
from langgraph.types import Send

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
_MAX_DEPTH = 200  # orjson stops at 254 levels
_INT_RANGE = range(-(2**63), 2**64)
_CYCLE = "<cycle>"
_TOO_DEEP = "<too deep>"


def encode(value: object, convert: Callable[[Any], Any] | None = None) -> bytes:
    """UTF-8 JSON of `value`; never raises.

    Models give what `model_dump` does, dataclasses and named tuples objects, sets arrays, bytes base64, enums
    their value, datetimes RFC 3339, durations seconds, exceptions their repr, NaN and infinities `null`. What
    nothing is known of becomes its `str`. `convert` may know better: it is asked first about objects that JSON does
    not know, and answers with NotImplemented about those of which it has nothing to say.
    """

    def converted(unknown: Any) -> Any:
        known = NotImplemented if convert is None else convert(unknown)
        return _convert(unknown) if known is NotImplemented else known

    default = _convert if convert is None else converted
    try:
        return orjson.dumps(value, default=default, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError):  # orjson.JSONEncodeError is a TypeError
        return orjson.dumps(_plain(value, (), default), option=_OPTIONS)


def decode(data: bytes) -> Any:
    """The value of a JSON document. Raises ValueError if it is none."""
    return orjson.loads(data)


def _convert(value: Any) -> Any:
    """One step from an object that JSON does not know towards one that it does."""
    try:
        return _known(value)
    except Exception:  # noqa: BLE001 - model_dump, _asdict, __str__ are user code; an unprintable value must not end a run
        return _safe_repr(value)


def _known(value: Any) -> Any:
    if isinstance(value, type):
        return repr(value)
    for method in ("model_dump", "_asdict"):  # pydantic 2 and LangChain messages; named tuples
        if callable(dump := getattr(value, method, None)):
            return dump()
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value)
    for method in ("dict", "tolist"):  # pydantic 1; numpy beyond what orjson takes
        if callable(dump := getattr(value, method, None)):
            return dump()
    return str(value)


_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (BaseException, repr),
    (Mapping, dict),
    ((set, frozenset, deque, tuple), list),
    ((bytes, bytearray, memoryview), lambda value: base64.b64encode(bytes(value)).decode()),
    (Decimal, lambda value: float(value) if value.is_finite() else None),
    (timedelta, timedelta.total_seconds),
    (tzinfo, str),
    (time, time.isoformat),  # orjson refuses a time with a zone
    (Send, lambda value: {"node": value.node, "arg": value.arg}),
    ((PurePath, UUID), str),
    (Pattern, lambda value: value.pattern),
)


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - as in _convert
        return object.__repr__(value)


def _plain(value: Any, path: tuple[int, ...], convert: Callable[[Any], Any]) -> Any:
    """`value` made of nothing but what orjson always takes; `path` holds the ids of the containers around it."""
    if isinstance(value, Enum):
        return _plain(value.value, path, convert)
    if value is None or isinstance(value, bool | float | date | datetime | UUID | orjson.Fragment):
        return value
    if isinstance(value, str):
        return _without_surrogates(value)
    if isinstance(value, int):
        return int(value) if int(value) in _INT_RANGE else orjson.Fragment(str(int(value)).encode())
    if id(value) in path or len(path) >= _MAX_DEPTH:
        return _CYCLE if id(value) in path else _TOO_DEEP
    return _plain_container(value, (*path, id(value)), convert)


def _plain_container(value: Any, path: tuple[int, ...], convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, path, convert) for key, item in list(value.items())}
    if isinstance(value, list) or type(value) is tuple:
        return [_plain(item, path, convert) for item in list(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return {name: _plain(getattr(value, name, None), path, convert) for name in names}
    return _plain(convert(value), path, convert)


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        return _key(key.value)
    if isinstance(key, str):
        return _without_surrogates(key)
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, date | time):
        return key.isoformat()
    return _without_surrogates(str(_convert(key)))


def _without_surrogates(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced, as UTF-8 cannot hold them."""
    return str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
