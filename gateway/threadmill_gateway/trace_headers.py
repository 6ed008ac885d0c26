"""The request headers that reach `configurable` of a run: LangSmith's trace and its items of `baggage`."""

from typing import Any
from urllib.parse import unquote

import orjson
from starlette.datastructures import Headers


def header_configurable(headers: Headers) -> dict[str, Any]:
    """Keys for `configurable`; malformed items are left out, as W3C baggage asks."""
    found: dict[str, Any] = {}
    if trace := headers.get("langsmith-trace"):
        found["langsmith-trace"] = trace
    for item in headers.get("baggage", "").split(","):
        name, _, value = item.strip().partition("=")
        text = unquote(value.split(";", 1)[0])
        if name == "langsmith-tags":
            found[name] = text.split(",")
        elif name == "langsmith-project":
            found[name] = text
        elif name == "langsmith-metadata":
            try:
                found[name] = orjson.loads(text)
            except orjson.JSONDecodeError:
                continue
    return found
