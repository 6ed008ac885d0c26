"""Bodies of the thread endpoints."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from threadmill_gateway.models.base import Absent, JsonObject, Limit, Model, Offset, OrderOfColumn, Text, ThreadId, fail
from threadmill_gateway.models.runs import Command

ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
ThreadColumn = Literal[
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "config",
    "status",
    "values",
    "interrupts",
]
EXTRACT_ROOTS = ("config", "interrupts", "metadata", "values")
_EXTRACT_PATH = re.compile(r"[a-z]+(?:\.[^.\[\]]+|\[-?\d+\])*")


class Ttl(Model):
    """Time to live in minutes after the last change. Without a strategy the thread's own stays, at first `delete`."""

    ttl: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    strategy: Absent[Literal["delete", "keep_latest"]] = None


class Update(Model):
    """One update of a superstep."""

    as_node: Text
    values: Any = None
    command: Command | None = None


class Superstep(Model):
    """Updates that happen at once."""

    updates: list[Update]


class ThreadCreate(Model):
    """Body of POST /threads."""

    thread_id: Absent[ThreadId] = None
    metadata: JsonObject = Field(default_factory=dict)
    if_exists: Literal["raise", "do_nothing"] = "raise"
    ttl: Absent[Ttl] = None
    supersteps: Absent[list[Superstep]] = None


class ThreadPatch(Model):
    """Body of PATCH /threads/{thread_id}."""

    metadata: Absent[JsonObject] = None
    ttl: Absent[Ttl] = None


class ThreadCount(Model):
    """Body of POST /threads/count."""

    metadata: Absent[JsonObject] = None
    values: Absent[JsonObject] = None
    status: Absent[ThreadStatus] = None


def _check_extract(extract: dict[str, str]) -> dict[str, str]:
    if len(extract) > 10:
        fail("extract: at most 10 paths")
    for alias, path in extract.items():
        if not alias.isidentifier():
            fail(f"Extract key '{alias}' must be a valid identifier (letters, digits and underscores)")
        if re.split(r"[.\[]", path, maxsplit=1)[0] not in EXTRACT_ROOTS:
            fail(f"Extract path '{path}' must start with one of: {', '.join(EXTRACT_ROOTS)}")
        if not _EXTRACT_PATH.fullmatch(path):
            fail(f"Extract path '{path}' must be made of dotted keys and [index] parts")
    return extract


class ThreadSearch(ThreadCount):
    """Body of POST /threads/search."""

    ids: list[str] = Field(default_factory=list)
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Absent[Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"]] = None
    sort_order: Absent[OrderOfColumn] = None
    select: list[ThreadColumn] = Field(default_factory=list)
    extract: Annotated[dict[str, Text], AfterValidator(_check_extract)] = Field(default_factory=dict)


class ThreadPrune(Model):
    """Body of POST /threads/prune."""

    thread_ids: list[ThreadId]
    strategy: Literal["delete", "keep_latest"] = "delete"
