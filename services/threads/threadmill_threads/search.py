"""The SQL of thread searches.

Composed rather than written out, so that each request's plan has exactly its own conditions, order and columns: a
condition such as `$1 IS NULL OR …` would keep a generic plan from every index. All text in it comes from here;
what a client sends travels as parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from threadmill_threads.domain import Json, SortBy, ThreadFilter, ThreadSearch
from threadmill_threads.extract import Path, parse_extract

# REST names of the columns to their SQL.
COLUMNS = {
    "thread_id": "thread.thread_id",
    "created_at": "thread.created_at",
    "updated_at": "thread.updated_at",
    "state_updated_at": "thread.state_updated_at",
    "metadata": "thread.metadata",
    "config": "thread.config",
    "status": "thread.status",
    "values": 'thread_values.document AS "values"',
    "interrupts": "thread.interrupts",
    "error": "thread.error",
}
DOCUMENTS = {
    "metadata": "thread.metadata",
    "config": "thread.config",
    "values": "thread_values.document",
    "interrupts": "thread.interrupts",
}
# Each order is one of the indexes of threads.thread, read forwards or backwards; ids make it total.
ORDERS = {
    SortBy.THREAD_ID: ("thread.thread_id",),
    SortBy.STATUS: ("thread.status", "thread.updated_at", "thread.thread_id"),
    SortBy.CREATED_AT: ("thread.created_at", "thread.thread_id"),
    SortBy.UPDATED_AT: ("thread.updated_at", "thread.thread_id"),
    SortBy.STATE_UPDATED_AT: ("thread.state_updated_at", "thread.thread_id"),
}


@dataclass(slots=True)
class Statement:
    """SQL and its parameters, in order."""

    sql: str = ""
    parameters: list[Any] = field(default_factory=list)

    def bind(self, value: object) -> str:
        """The placeholder of a new parameter."""
        self.parameters.append(value)
        return f"${len(self.parameters)}"


def page(query: ThreadSearch) -> Statement:
    """A page and one row more, which tells that there is a next page. Raises InvalidArgument for a bad `extract`."""
    statement = Statement()
    names = query.columns or tuple(COLUMNS)
    columns = [sql for name, sql in COLUMNS.items() if name in names]
    paths = parse_extract(query.extract)
    columns += [f"{_walk(path, statement)} AS extract_{place}" for place, path in enumerate(paths.values())]
    direction = "ASC" if query.ascending else "DESC"
    order = ", ".join(f"{column} {direction}" for column in ORDERS[query.sort_by])
    values_read = "values" in names or any(path.root == "values" for path in paths.values())
    source = _source(query.matching, values_read=values_read)
    where = _where(query.matching, statement)
    limit, offset = statement.bind(query.limit + 1), statement.bind(query.offset)
    statement.sql = (
        f"SELECT {', '.join(columns)} FROM {source}{where} ORDER BY {order} LIMIT {limit}::int OFFSET {offset}::int"
    )
    return statement


def count(matching: ThreadFilter) -> Statement:
    """The number of matching threads."""
    statement = Statement()
    where = _where(matching, statement)
    matched = f"FROM {_source(matching, values_read=False)}{where}"
    if matching == ThreadFilter(status=matching.status):
        # Perhaps most threads: asked for in the order of an index they are counted there, and not in the table.
        order = ", ".join(ORDERS[SortBy.STATUS])
        matched = f"FROM (SELECT {order} {matched} ORDER BY {order}) AS matched"
    statement.sql = f"SELECT count(*) {matched}"
    return statement


def extracted(row: Mapping[str, Any], extract: Mapping[str, str]) -> Json | None:
    """The `extracted` object of a row; None when nothing was to be extracted."""
    if not extract:
        return None
    found = {alias: orjson.Fragment(row[f"extract_{place}"] or "null") for place, alias in enumerate(extract)}
    return Json(orjson.dumps(found).decode())


def _source(matching: ThreadFilter, *, values_read: bool) -> str:
    if matching.values is not None:
        return "threads.thread JOIN threads.thread_values USING (thread_id)"
    return "threads.thread" + (" LEFT JOIN threads.thread_values USING (thread_id)" if values_read else "")


def _where(matching: ThreadFilter, statement: Statement) -> str:
    conditions: list[str] = []
    if matching.thread_ids:
        conditions.append(f"thread.thread_id = ANY({statement.bind(list(matching.thread_ids))}::uuid[])")
    if matching.metadata is not None:
        conditions += _holds("thread.metadata", matching.metadata, statement)
    if matching.values is not None:
        conditions += _holds("thread_values.document", matching.values, statement)
    if matching.status is not None:
        conditions.append(f"thread.status = {statement.bind(matching.status.value)}")
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _holds(column: str, pattern: Json, statement: Statement) -> list[str]:
    """Containment, which has an index, and where the pattern has arrays the exact test of what it lets through."""
    # A typed literal's function call is folded into a constant, which an index condition needs to be estimated.
    wanted = f"threads.searchable({statement.bind(pattern)}::json)"
    conditions = [f"threads.searchable({column}) @> {wanted}"]
    if "[" in pattern:  # in a string perhaps; then the test is needless but true
        conditions.append(f"threads.holds(threads.searchable({column}), {wanted})")
    return conditions


def _walk(path: Path, statement: Statement) -> str:
    steps = [str(step) if isinstance(step, int) else f"{statement.bind(step)}::text" for step in path.steps]
    return " -> ".join([f"threads.without_nul({DOCUMENTS[path.root]})", *steps])
