"""JSON patches which bring documents on record up to date with a text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from threadmill_cli.offline_model.rules.memory import Existing
from threadmill_cli.offline_model.rules.schemas import Source, fill, is_todo_schema, resolve
from threadmill_cli.offline_model.rules.todos import Change, Task, find_changes, find_tasks, same_task

Patch = dict[str, Any]
_STATUS_WORDS = {
    "done": ("done", "completed", "complete", "finished", "closed"),
    "in progress": ("in progress", "in_progress", "doing", "started", "active"),
    "not started": ("not started", "not_started", "todo", "open", "pending"),
    "archived": ("archived", "cancelled", "canceled", "removed", "deleted"),
}


@dataclass(frozen=True, slots=True)
class Edit:
    """The patches of one document."""

    document: Existing
    patches: list[Patch]


def document_schema(document: Existing) -> dict[str, Any]:
    """The schema as given, else one guessed from the values."""
    if document.schema:
        return document.schema
    kinds = {list: "array", bool: "boolean", int: "integer", float: "number", dict: "object"}
    properties = {name: {"type": kinds.get(type(value), "string")} for name, value in document.value.items()}
    return {"properties": properties}


def edits_for(text: str, source: Source, existing: list[Existing]) -> list[Edit]:
    """All edits that a text calls for; a document without news has none."""
    todos = [document for document in existing if is_todo_schema(document_schema(document))]
    others = [document for document in existing if document not in todos]
    edits = _todo_edits(text, source.today.date(), todos)
    edits += [Edit(document, _fact_patches(document, text, source)) for document in others]
    return [edit for edit in edits if edit.patches]


def new_tasks(text: str, today: date, existing: list[Existing]) -> list[Task]:
    """Tasks that are not yet on record."""
    values = [document.value for document in existing]
    return [task for task in find_tasks(text, today) if same_task(task, values) is None]


def _todo_edits(text: str, today: date, documents: list[Existing]) -> list[Edit]:
    values = [document.value for document in documents]
    repeated = [
        Change(index, None, task.deadline, task.minutes)
        for task in find_tasks(text, today)
        if (index := same_task(task, values)) is not None
    ]
    patches: dict[int, dict[str, Patch]] = {}
    for change in [*repeated, *find_changes(text, values, today)]:
        for patch in _change_patches(documents[change.index], change):
            patches.setdefault(change.index, {})[patch["path"]] = patch
    return [Edit(documents[index], list(found.values())) for index, found in patches.items()]


def _change_patches(document: Existing, change: Change) -> Iterable[Patch]:
    schema = document_schema(document)
    for name, prop in schema["properties"].items():
        value = _changed_value(name, resolve(prop, schema), change)
        if value is not None and document.value.get(name) != value:
            yield _set(document.value, name, value)


def _changed_value(name: str, prop: dict[str, Any], change: Change) -> Any:
    if change.status and name in {"status", "state"}:
        options = prop.get("enum") or [change.status]
        return next((option for option in options if option in _STATUS_WORDS[change.status]), None)
    if change.status and name in {"done", "completed"} and prop.get("type") == "boolean":
        return change.status == "done"
    if change.deadline and re.search(r"deadline|due", name):
        return change.deadline.isoformat()
    if change.minutes and re.search(r"time|minutes|duration", name):
        return change.minutes
    return None


def _fact_patches(document: Existing, text: str, source: Source) -> list[Patch]:
    """Compare a document with what the text says of its fields; lists grow, other values are replaced."""
    found = fill({**document_schema(document), "required": []}, Source(text, source.today))
    patches = []
    for name, value in found.items():
        old = document.value.get(name)
        if isinstance(value, list) and isinstance(old, list):
            known = {str(item).lower() for item in old}
            new = [item for item in value if str(item).lower() not in known]
            patches += [{"op": "add", "path": f"/{_escape(name)}/-", "value": item} for item in new]
        elif value != old:
            patches.append(_set(document.value, name, value))
    return patches


def _set(document: dict[str, Any], name: str, value: Any) -> Patch:
    return {"op": "replace" if name in document else "add", "path": f"/{_escape(name)}", "value": value}


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
