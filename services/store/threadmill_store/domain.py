"""Items of long-term memory and the operations on them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Labels = tuple[str, ...]
# `object` and `array` ask for the type alone, an array's with its length.
Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "object", "array"]


@dataclass(frozen=True, slots=True)
class Item:
    """One memory item as it is stored."""

    id: int
    namespace: Labels
    key: str
    # JSON object, as text, in the key order of its writer.
    value: str
    created_at: datetime
    updated_at: datetime
    # Whether it has a TTL that a read may restart.
    expires: bool
    # Cosine similarity to the query, -1 to 1; None without one.
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Get:
    """Reads one item."""

    namespace: Labels
    key: str
    # None: as the server is set.
    refresh_ttl: bool | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Writes one item whole."""

    namespace: Labels
    key: str
    value: str
    # None: as the server is set, unless it is to be kept for ever.
    ttl_minutes: float | None = None
    keep_forever: bool = False
    # Where the texts are that a search by meaning finds; None: as the application is set.
    paths: Labels | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes one item, if it is there."""

    namespace: Labels
    key: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A relation that the value of a key must stand in; a missing key is null."""

    # Of the top level.
    key: str
    operator: Operator
    # JSON text.
    operand: bytes
    # Keys, and positions in arrays, on the way further down.
    below: Labels = ()


@dataclass(frozen=True, slots=True)
class Search:
    """Finds items below a namespace: in the order of insertion, or those nearest to the query first."""

    prefix: Labels
    conditions: tuple[Condition, ...] = ()
    # 0: no limit.
    limit: int = 10
    offset: int = 0
    query: str = ""
    refresh_ttl: bool | None = None


@dataclass(frozen=True, slots=True)
class ListNamespaces:
    """Lists distinct namespaces; `*` in a pattern stands for any one label."""

    prefix: Labels = ()
    suffix: Labels = ()
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


Op = Get | Put | Delete | Search | ListNamespaces
# Item of a get that hit, items of a search, namespaces of a listing; None for all else.
Result = Item | list[Item] | list[Labels] | None
