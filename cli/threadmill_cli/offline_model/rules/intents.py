"""Which kinds of memory a message gives reason to change."""

from __future__ import annotations

from datetime import datetime

from threadmill_cli.offline_model.conversation import Tool
from threadmill_cli.offline_model.rules.memory import Memory
from threadmill_cli.offline_model.rules.preferences import find_preferences
from threadmill_cli.offline_model.rules.profile import find_facts
from threadmill_cli.offline_model.rules.text import words
from threadmill_cli.offline_model.rules.todos import find_changes, find_tasks

_KINDS = {
    "user": {"user", "profile", "person", "personal", "facts"},
    "todo": {"todo", "todos", "task", "tasks", "to", "list"},
    "instructions": {"instructions", "instruction", "preferences", "preference", "rules", "procedural"},
}


def memory_kinds(tool: Tool) -> tuple[str, dict[str, str]] | None:
    """(parameter, kind -> enum value) if the tool chooses among kinds of memory, else None."""
    for name, prop in tool.properties.items():
        options = [option for option in prop.get("enum", []) if isinstance(option, str)]
        kinds = {kind: option for option in options for kind, known in _KINDS.items() if set(words(option)) & known}
        if len(kinds) >= 2:
            return name, kinds
    return None


def needed_updates(text: str, memory: Memory, now: datetime) -> list[str]:
    """The kinds of memory for which the text holds something new."""
    today = now.date()
    found = {
        "user": find_facts(text).firm,
        "todo": bool(find_tasks(text, today) or find_changes(text, memory.todos, today)),
        "instructions": bool(find_preferences(text)),
    }
    return [kind for kind, needed in found.items() if needed]
