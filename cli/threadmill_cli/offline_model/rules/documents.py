"""Calls which write documents: new ones, patches of those on record, and repairs of rejected ones."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from threadmill_cli.offline_model.conversation import Call, Conversation, Tool
from threadmill_cli.offline_model.rules.memory import Existing, parse_object, read_existing, read_memory
from threadmill_cli.offline_model.rules.patches import Edit, Patch, edits_for, new_tasks
from threadmill_cli.offline_model.rules.schemas import Source, fallback, fill, is_profile_schema, is_todo_schema
from threadmill_cli.offline_model.rules.text import sentences, stems
from threadmill_cli.offline_model.rules.todos import Task, clean_task, title_of


def is_patch_tool(tool: Tool) -> bool:
    """A tool that takes a list of patches for a document named by its id."""
    return {"json_doc_id", "patches"} <= set(tool.properties)


def is_remove_tool(tool: Tool) -> bool:
    """A tool that takes nothing but the id of a document."""
    return set(tool.properties) == {"json_doc_id"}


def is_document_tool(tool: Tool) -> bool:
    """A tool whose arguments are a document of a kind that the rules know."""
    return is_todo_schema(tool.parameters) or is_profile_schema(tool.parameters)


def source_for(conversation: Conversation, text: str, now: datetime, task: Task | None = None) -> Source:
    """The text together with what is known of the user from the prompt."""
    memory = read_memory(conversation.system_text)
    location = memory.profile.get("location")
    return Source(text, now, task, memory.instructions, location if isinstance(location, str) else None)


def write_documents(tool: Tool, conversation: Conversation, now: datetime) -> list[Call]:
    """Fill a document tool: one call per new task for a to-do schema, one call for any other."""
    if not is_todo_schema(tool.parameters):
        return [Call(tool.name, fill(tool.parameters, source_for(conversation, _all_said(conversation), now)))]
    existing = read_existing(conversation.system_text)
    tasks = new_tasks(conversation.turn_text, now.date(), existing)
    if not tasks and not existing:
        tasks = new_tasks(_all_said(conversation), now.date(), []) or _whole_message(conversation, now)
    return [_todo_call(tool, conversation, task, now) for task in tasks]


def _whole_message(conversation: Conversation, now: datetime) -> list[Task]:
    """A forced call has to hold something: the last message as it stands."""
    text = conversation.last_user_text
    return [Task(clean_task(text, now.date()) or text or "Untitled", text)]


def _all_said(conversation: Conversation) -> str:
    return "\n".join(conversation.user_texts)


def _todo_call(tool: Tool, conversation: Conversation, task: Task, now: datetime) -> Call:
    return Call(tool.name, fill(tool.parameters, source_for(conversation, task.said, now, task)))


def patch_documents(tool: Tool, conversation: Conversation, now: datetime) -> list[Call]:
    """One call per document on record for which this turn brings news."""
    existing = _with_schemas(read_existing(conversation.system_text), conversation.tools)
    text = conversation.turn_text
    edits = edits_for(text, source_for(conversation, text, now), existing)
    return [_patch_call(tool, edit) for edit in edits]


_REMOVAL = re.compile(r"\b(?:delete|remove|forget|drop|erase|discard)\b", re.IGNORECASE)


def remove_documents(tool: Tool, conversation: Conversation) -> list[Call]:
    """Calls for the documents that this turn wants to be rid of: for each wish, the one it names best."""
    existing = read_existing(conversation.system_text)
    found = []
    for sentence in sentences(conversation.turn_text):
        wanted = stems(sentence)
        scored = [(len(wanted & stems(str(list(doc.value.values())))), doc.id) for doc in existing]
        score, doc_id = max(scored, default=(0, ""))
        if score and _REMOVAL.search(sentence):
            found.append(Call(tool.name, {"json_doc_id": doc_id}))
    return found


def untouched(tool: Tool, conversation: Conversation) -> list[Call]:
    """A call without patches: the answer to a forced call when nothing has changed."""
    existing = read_existing(conversation.system_text)
    return [_patch_call(tool, Edit(existing[0], []))] if existing else []


def _with_schemas(existing: list[Existing], tools: tuple[Tool, ...]) -> list[Existing]:
    schemas = {tool.name: tool.parameters for tool in tools}
    return [
        Existing(doc.id, doc.schema_name, doc.value, doc.schema or schemas.get(doc.schema_name)) for doc in existing
    ]


def _patch_call(tool: Tool, edit: Edit) -> Call:
    title = title_of(edit.document.value) or edit.document.schema_name
    plan = "\n".join(f"- {_in_words(patch)}" for patch in edit.patches) or "- nothing to change"
    arguments = {"json_doc_id": edit.document.id, "planned_edits": f"{title}:\n{plan}", "patches": edit.patches}
    return Call(tool.name, {name: arguments[name] for name in tool.properties if name in arguments})


def _in_words(patch: Patch) -> str:
    return f"{patch['op']} {patch['path']}: {patch.get('value')}"


# --- repairs ---

_ERROR_FIELD = re.compile(r"^(?P<path>[\w.]+)\n\s+.*\[type=(?P<kind>\w+)", re.MULTILINE)
_EXPECTED = re.compile(r"```json\n(?P<schema>\{.*\})\n```", re.DOTALL)
_FAILED_ID = re.compile(r"json_doc_id=\[(?P<id>[^\]]+)\]")


def repair_call(tool: Tool, conversation: Conversation, now: datetime) -> Call | None:
    """Patches for a rejected call, from the validation error in the last tool message; None without one."""
    report = next((m.text for m in reversed(conversation.messages) if m.role == "tool"), "")
    failed, expected = _FAILED_ID.search(report), _EXPECTED.search(report)
    if not failed:
        return None
    schema = _schema_in(expected["schema"]) if expected else {}
    source = source_for(conversation, _all_said(conversation), now)
    patches = [_repair(match["path"], match["kind"], schema, source) for match in _ERROR_FIELD.finditer(report)]
    plan = "\n".join(f"- {_in_words(patch)}" for patch in patches)
    return Call(tool.name, {"json_doc_id": failed["id"], "planned_edits": plan, "patches": patches})


def _schema_in(text: str) -> dict[str, Any]:
    return parse_object(text) or {}


def _repair(path: str, kind: str, schema: dict[str, Any], source: Source) -> Patch:
    pointer = "/" + path.replace(".", "/")
    if kind == "extra_forbidden":
        return {"op": "remove", "path": pointer, "value": None}
    name = path.split(".", maxsplit=1)[0]
    prop = schema.get("properties", {}).get(name, {})
    filled = fill({"properties": {name: prop}}, source, schema)
    value = filled.get(name, fallback(prop, source, schema))
    return {"op": "add" if kind == "missing" else "replace", "path": f"/{name}", "value": value}
