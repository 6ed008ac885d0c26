"""Assistants and the rules by which their parts are merged."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID, uuid5

import orjson

# Observed on the reference server: system assistants are UUIDv5 of the graph id in this namespace.
SYSTEM_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
SYSTEM_METADATA = b'{"created_by":"system"}'


def system_assistant_id(graph_id: str) -> str:
    """Id of the assistant that exists for every graph."""
    return str(uuid5(SYSTEM_NAMESPACE, graph_id))


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph that executors serve; `error` says why it could not be imported, if so."""

    graph_id: str
    name: str
    description: str | None
    error: str


@dataclass(frozen=True, slots=True)
class Assistant:
    """An assistant at its current version, or one of its older versions."""

    assistant_id: str
    graph_id: str
    config_json: bytes
    context_json: bytes
    metadata_json: bytes
    name: str
    description: str | None
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_record(cls, record: Any) -> Self:
        """From a row of runs.assistant or runs.assistant_version."""
        return cls(
            assistant_id=str(record["assistant_id"]),
            graph_id=record["graph_id"],
            config_json=record["config"],
            context_json=record["context"],
            metadata_json=record["metadata"].encode(),
            name=record["name"],
            description=record["description"],
            version=record["version"],
            created_at=record["created_at"],
            updated_at=record["updated_at"],
        )


def mirrored(config_json: bytes, context_json: bytes) -> tuple[bytes, bytes]:
    """Config and context of an assistant, where whichever was given is copied to the other."""
    config: dict[str, Any] = orjson.loads(config_json or b"{}")
    context: dict[str, Any] = orjson.loads(context_json or b"{}")
    if context:
        config["configurable"] = context
    elif config.get("configurable"):
        context = config["configurable"]
    return orjson.dumps(config), orjson.dumps(context)


def replaced(old: Assistant, config_json: bytes, context_json: bytes) -> tuple[bytes, bytes]:
    """Config and context after an update: what is given replaces and is mirrored; the config `{}` counts as not given.

    A config that configures nothing leaves the context alone, and the context `{}` clears the context alone. All this
    is as observed on the reference server (langgraph-api 0.16.7).
    """
    config: dict[str, Any] = orjson.loads(config_json or b"{}")
    context: dict[str, Any] = orjson.loads(context_json or b"{}")
    if context or config.get("configurable"):
        return mirrored(config_json, context_json)
    return (config_json if config else old.config_json), context_json or old.context_json


def merged(base_json: bytes, update_json: bytes) -> bytes:
    """`base` with the keys of `update`; both JSON objects, either may be empty."""
    return orjson.dumps({**orjson.loads(base_json or b"{}"), **orjson.loads(update_json or b"{}")})
