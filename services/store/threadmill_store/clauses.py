"""The parts of searches that belong to what is asked for, as text of the SQL in `templates`.

A plan then has exactly the search's own conditions, and nothing in it is a function that Postgres plans with every
call. The text comes from here alone; labels, keys and operands travel as parameters, the latter two in arrays, `names`
and `operands`, which conditions pick from by position. So searches that differ only in what they compare share a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import aiosql
import orjson

from threadmill_store.domain import Condition, Labels, Operator, Search
from threadmill_store.schema import TEMPLATES

# Prefixes of so many labels have an index that is in insertion order (migration 3).
ORDERED_DEPTHS = 3
# Stands for any one label in a pattern of namespaces.
WILDCARD = "*"
COMPARISONS: dict[Operator, str] = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
NULL = b"null"
# Empty containers contain nothing that an index could find.
UNFINDABLE = (NULL, b"{}", b"[]")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the text of one condition depends on."""

    operator: Operator
    # Of the operand: number, string or other.
    kind: str
    depth: int


@lru_cache(maxsize=512)
def queries(path: Path, **parts: str) -> Any:
    """The named queries of a file with these words replaced."""
    text = path.read_text()
    for word, part in parts.items():
        text = text.replace(word, part)
    return aiosql.from_str(text, "asyncpg")


def search_queries(name: str, search: Search, **parts: str) -> Any:
    """The named queries of a template for a search like this one."""
    return queries(TEMPLATES / f"{name}.sql", **_scope(len(search.prefix)), MEETS=meets(search.conditions), **parts)


def search_parameters(search: Search) -> dict[str, Any]:
    """Parameters of a search that has no conditions."""
    return {"prefix": search.prefix, "limit": search.limit, "offset": search.offset}


def filter_parameters(conditions: Sequence[Condition]) -> dict[str, Any]:
    """Parameters of the clause MEETS; `contained` is what the index of values can find of the conditions."""
    return {
        "contained": _contained(conditions),
        "names": [name for condition in conditions for name in (condition.key, *condition.below)],
        "operands": [condition.operand.decode() for condition in conditions],
    }


def meets(conditions: Sequence[Condition]) -> str:
    """Whether `parsed.document`, the value of an item, meets every condition."""
    shapes = tuple(Shape(one.operator, _kind(one.operand), 1 + len(one.below)) for one in conditions)
    return _meets(shapes, indexed=_contained(conditions) is not None)


def matches(prefix: Labels, suffix: Labels) -> str:
    """Whether an item's namespace fits patterns; that it is in the range of the literal part is known already."""
    known = prefix.index(WILDCARD) if WILDCARD in prefix else len(prefix)
    begins = [
        f"item.namespace[{place}] = (:prefix::text[])[{place}]"
        for place, label in enumerate(prefix, 1)
        if label != WILDCARD and place > known
    ]
    ends = [
        f"item.namespace[cardinality(item.namespace) - {len(suffix) - place}] = (:suffix::text[])[{place}]"
        for place, label in enumerate(suffix, 1)
        if label != WILDCARD
    ]
    long_enough = "cardinality(item.namespace) >= greatest(cardinality(:prefix::text[]), cardinality(:suffix::text[]))"
    return f"({' AND '.join([long_enough, *begins, *ends])})"


def _scope(depth: int) -> dict[str, str]:
    """Whether an item is below a prefix of so many labels: for a search in INSERTION order, and for any other."""
    if depth == 0:
        everywhere = "cardinality(:prefix::text[]) = 0"
        return {"SCOPE": everywhere, "WITHIN": everywhere, "INSERTION": "item.id"}
    if depth > ORDERED_DEPTHS:
        within = f"item.namespace >= :prefix::text[] AND item.namespace < store.following(:prefix::text[], {depth})"
        # Not `item.id`, whose index the planner would walk through the whole store for the first few of a page.
        return {"SCOPE": within, "WITHIN": within, "INSERTION": "item.id + 0"}
    first = f"item.namespace[1 : {depth}]"
    long_enough = f" AND cardinality(item.namespace) >= {depth}" if depth > 1 else ""
    return {
        # Not `=`: the order by a constant is no order to the planner, and it would walk through the store here too.
        "SCOPE": f"{first} >= :prefix::text[] AND {first} <= :prefix::text[]{long_enough}",
        # For `=` it knows best how many there are, which decides how to join them.
        "WITHIN": f"{first} = :prefix::text[]{long_enough}",
        "INSERTION": f"{first}, item.id",
    }


@lru_cache(maxsize=512)
def _meets(shapes: tuple[Shape, ...], *, indexed: bool) -> str:
    # Containment finds candidates by index; it is wider than equality, so all conditions are checked.
    clauses = ["item.value::jsonb @> :contained::text::jsonb" if indexed else ":contained::text IS NULL"]
    if not shapes:
        clauses.append("cardinality(:names::text[]) = cardinality(:operands::text[])")
    place = 1
    for number, shape in enumerate(shapes, 1):
        names = [f"(:names::text[])[{place + step}]" for step in range(shape.depth)]
        clauses.append(_clause(shape, names, f"(:operands::text[])[{number}]::jsonb"))
        place += shape.depth
    return " AND ".join(clauses)


def _clause(shape: Shape, names: Sequence[str], operand: str) -> str:
    path = names[0] if len(names) == 1 else f"ARRAY[{', '.join(names)}]"
    arrow = "->" if len(names) == 1 else "#>"
    found = f"(parsed.document {arrow} {path})"
    match shape:
        case Shape("eq"):
            return f"coalesce({found}, 'null') = {operand}"
        case Shape("ne"):
            return f"coalesce({found}, 'null') <> {operand}"
        case Shape("object"):
            return f"(jsonb_typeof({found}) = 'object' AND {operand} IS NOT NULL)"
        case Shape("array"):
            length = f"CASE WHEN jsonb_typeof({found}) = 'array' THEN jsonb_array_length({found}) END"
            return f"{length} = {operand}::int"
        case Shape(operator):
            text = f"(parsed.document {arrow}> {path})"
            return _ordered(COMPARISONS[operator], shape.kind, found, text, operand)


def _ordered(sign: str, kind: str, found: str, text: str, operand: str) -> str:
    """Order exists between two numbers and between two strings (by code point); nothing else is before or after."""
    if kind == "number":
        return f"(jsonb_typeof({found}) = 'number' AND {found} {sign} {operand})"
    if kind == "string":
        return f"(jsonb_typeof({found}) = 'string' AND {text} COLLATE \"C\" {sign} ({operand} #>> '{{}}'))"
    return f"(false AND {found} = {operand})"


def _kind(operand: bytes) -> str:
    first = operand.lstrip()[:1]
    return "string" if first == b'"' else "number" if first in b"-0123456789" else "other"


def _contained(conditions: Sequence[Condition]) -> str | None:
    """The equalities as one document, which values that meet them contain."""
    found: dict[str, Any] = {}
    lists = {(one.key, *one.below) for one in conditions if one.operator == "array"}
    for one in conditions:
        path = (one.key, *one.below)
        in_list = any(path[:length] in lists for length in range(1, len(path)))
        # Null equals a missing key, which containment does not find.
        if one.operator == "eq" and not in_list and one.operand.strip() not in UNFINDABLE:
            _place(found, path, orjson.Fragment(one.operand))
    return orjson.dumps(found).decode() if found else None


def _place(document: dict[str, Any], path: Labels, value: orjson.Fragment) -> None:
    *way, last = path
    for key in way:
        inner = document.setdefault(key, {})
        if not isinstance(inner, dict):
            return  # that the value there equals something whole is asked for already
        document = inner
    document.setdefault(last, value)
