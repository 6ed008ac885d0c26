"""Makes two answers comparable: ids, times, versions and wordings become placeholders."""

import re
from typing import Any
from uuid import UUID, uuid5

GRAPHS = ("steps", "echo", "chat", "ask", "tokens", "slow", "blocking", "failing", "nested")
GRAPHS += ("fan", "configured", "agent", "deep", "task_maistro")
GRAPHS += ("private", "spread", "twice", "builder", "factory", "opened", "workflow", "deltas")
SYSTEM_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
SYSTEM_ASSISTANTS = {str(uuid5(SYSTEM_NAMESPACE, graph)): f"<assistant {graph}>" for graph in GRAPHS}

# What differs by nature: the server's name and version, its clock, how it is installed.
OPAQUE_KEYS = frozenset(
    ("langgraph_version", "langgraph_api_version", "langgraph_plan", "langgraph_host", "langgraph_api_url")
) | {"langgraph_py_version", "lc_versions", "total_bytes", "bytes", "timestamp", "__request_start_time_ms__"}
# Wording is free; presence and type are not.
TEXT_KEYS = frozenset(["detail"])

UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Of streams; that some share a millisecond, the reference says in a way of its own.
STREAM_ID = re.compile(r"^\d{13}-\d+(\.\d+)?$")
HEX32 = re.compile(r"\b[0-9a-f]{32}\b")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
CHANNEL_VERSION = re.compile(r"\b0*(\d+)\.\d\.\d{5,}\b")


class Normaliser:
    """Knows the ids of one script on one server by name."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, value: str, exchange: int) -> None:
        """Calls an id by the exchange that it first came up in.

        Ids of one exchange share a name: a stateless run's thread may have the run's own id.
        """
        if value not in SYSTEM_ASSISTANTS:
            self._names.setdefault(value, f"<id {exchange}>")

    def text(self, text: str) -> str:
        """The text with its ids, times and channel versions replaced."""
        text = STREAM_ID.sub("<stream id>", text)
        text = UUID_TEXT.sub(self._id, text)
        text = HEX32.sub("<hex32>", text)
        text = CHANNEL_VERSION.sub(r"<channel version \1>", text)
        return TIME.sub(lambda found: f"<time {found[2]}>", text)

    def value(self, value: Any, *, wording: bool = False) -> Any:
        """The JSON value normalised; `wording` keeps error texts."""
        if isinstance(value, dict):
            return {self.text(key): self._member(key, member, wording) for key, member in value.items()}
        if isinstance(value, list):
            return [self.value(member, wording=wording) for member in value]
        return self.text(value) if isinstance(value, str) else value

    def _member(self, key: str, member: Any, wording: bool) -> Any:
        if key in OPAQUE_KEYS:
            return f"<{key}>"
        if key in TEXT_KEYS and isinstance(member, str) and not wording:
            return "<text>"
        return self.value(member, wording=wording)

    def _id(self, found: re.Match[str]) -> str:
        return self._names.get(found[0]) or SYSTEM_ASSISTANTS.get(found[0]) or "<uuid>"
