"""Values of memory items as JSON: strict, for what cannot be read back in some useful form is refused."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import orjson
from pydantic import BaseModel

# Integer, date and enum keys become text, as the json module has it; orjson itself writes datetimes, UUIDs, enums.
OPTIONS = orjson.OPT_NON_STR_KEYS
# What orjson says of an integer that it does not write; Postgres would take it, other readers of JSON would round it.
TOO_LARGE = "Integer exceeds 64-bit range"


def encode_value(value: Mapping[str, Any], key: str) -> bytes:
    """JSON of an item's value. Naming `key`, TypeError for what JSON cannot hold, ValueError for such numbers."""
    return _encode(dict(value), f"the value of {key!r}")


def encode_operand(operand: Any, key: str) -> bytes:
    """JSON of what a filter compares with. Naming the filtered `key`, TypeError and ValueError as for values."""
    return _encode(operand, f"the filter on {key!r}")


def _encode(value: Any, subject: str) -> bytes:
    try:
        encoded = orjson.dumps(value, default=_plain, option=OPTIONS)
    except TypeError as error:  # JSONEncodeError is one; its cause tells of an error in `_plain` or a model
        reason = str(error.__cause__ or error)
        kind = ValueError if TOO_LARGE in reason else TypeError
        raise kind(f"{subject} cannot be stored as JSON: {reason}") from error
    # NaN and the infinities are written as null, which nobody meant.
    if b"null" in encoded and (number := next(_not_finite(value), None)) is not None:
        raise ValueError(f"{subject} cannot be stored as JSON: {number} is no number there")
    return encoded


def _not_finite(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        if not math.isfinite(value):
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _not_finite(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _not_finite(inner)
    elif isinstance(value, BaseModel) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        yield from _not_finite(_plain(value))


def _plain(value: Any) -> Any:
    """One step towards JSON for an object that orjson does not know."""
    if isinstance(value, BaseModel):  # LangChain messages and documents too
        return value.model_dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple) and callable(fields := getattr(value, "_asdict", None)):
        return fields()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, Decimal | PurePath):
        return str(value)
    raise TypeError(f"Type is not JSON serializable: {type(value).__qualname__}")
