"""What a prompt says is on record: the blocks in tags, and the documents inside them."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field
from typing import Any

_BLOCK = re.compile(r"<(?P<tag>[\w-]+)>(?P<body>.*?)</(?P=tag)>", re.DOTALL)
_INSTANCE = re.compile(
    r"<(?:instance|schema) id=[\"']?(?P<id>[^\s>\"']+)[\"']?(?:\s+schema_type=\"(?P<type>[^\"]*)\")?>\s*"
    r"(?:<instance>\s*)?(?P<body>.*?)\s*</instance>(?:\s*<json_schema>\s*(?P<schema>.*?)\s*</json_schema>)?",
    re.DOTALL,
)


@dataclass(slots=True)
class Memory:
    """The long-term memory as far as the prompt shows it."""

    profile: dict[str, Any] = field(default_factory=dict)
    todos: list[dict[str, Any]] = field(default_factory=list)
    instructions: str = ""
    has_todo_list: bool = False


@dataclass(frozen=True, slots=True)
class Existing:
    """A document that may be patched: its id, the name of its schema and its values."""

    id: str
    schema_name: str
    value: dict[str, Any]
    schema: dict[str, Any] | None = None


def parse_object(text: str) -> dict[str, Any] | None:
    """A JSON object or the printed form of a Python dict, dates included."""
    plain = re.sub(r"datetime\.datetime\(([\d, ]+?)(?:, tzinfo=[^)]*\)?)?\)", _printed_datetime, text.strip())
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(plain)
        except (ValueError, SyntaxError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _printed_datetime(match: re.Match[str]) -> str:
    year, month, day, *clock = [int(part) for part in match[1].split(",")]
    hour, minute, second = [*clock, 0, 0, 0][:3]
    return f"'{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}'"


def read_memory(prompt: str) -> Memory:
    """Sort the tagged blocks of a prompt by what their tags say."""
    memory = Memory()
    for match in _BLOCK.finditer(prompt):
        tag, body = match["tag"].lower(), match["body"].strip()
        if re.search(r"instruction|preference|rule", tag):
            memory.instructions = body
        elif re.search(r"to_?-?do|task", tag):
            memory.has_todo_list = True
            memory.todos = [todo for line in body.splitlines() if (todo := parse_object(line))]
        elif re.search(r"profile|user|person", tag):
            memory.profile = parse_object(body) or {}
    memory.profile = memory.profile.get("memory", memory.profile)
    return memory


def read_existing(prompt: str) -> list[Existing]:
    """The documents that a prompt offers for patching."""
    return [
        Existing(match["id"], match["type"] or match["id"], value, parse_object(match["schema"] or ""))
        for match in _INSTANCE.finditer(prompt)
        if (value := parse_object(match["body"])) is not None
    ]
