"""Bodies of the store endpoints."""

from typing import Annotated, Literal

from pydantic import Field

from threadmill_gateway.models.base import Absent, Integer, JsonObject, Model, Offset
from threadmill_gateway.requests import INT32_MAX


class ItemPut(Model):
    """Body of PUT /store/items."""

    namespace: list[str]
    key: str
    value: JsonObject
    index: Literal[False] | list[str] | None = None
    ttl: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class ItemDelete(Model):
    """Body of DELETE /store/items."""

    key: str
    namespace: list[str] = Field(default_factory=list)


class ItemSearch(Model):
    """Body of POST /store/items/search. Limit 0 means no limit."""

    namespace_prefix: list[str] = Field(default_factory=list)
    filter: JsonObject | None = None
    limit: Annotated[Integer, Field(ge=0, le=INT32_MAX)] = 10
    offset: Offset = 0
    query: str | None = None
    refresh_ttl: bool | None = None


class NamespaceSearch(Model):
    """Body of POST /store/namespaces. Limit 0 finds nothing."""

    prefix: Absent[list[str]] = None
    suffix: Absent[list[str]] = None
    max_depth: Absent[Offset] = None
    limit: Annotated[Integer, Field(ge=0, le=INT32_MAX)] = 100
    offset: Offset = 0
