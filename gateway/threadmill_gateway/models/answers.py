"""Shapes of answers, for OpenAPI only: answers are encoded from protobuf, never validated."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, create_model

from threadmill_gateway.models.base import JsonObject
from threadmill_gateway.models.threads import ThreadStatus


def rows_of(row: type[BaseModel]) -> Any:
    """The type of a list of rows of which the client may have selected some columns."""
    fields: dict[str, Any] = {
        name: (field.annotation, field.get_default() if not field.is_required() else None)
        for name, field in row.model_fields.items()
    }
    columns: Any = create_model(f"{row.__name__}Columns", __doc__=f"{row.__doc__} Only selected columns.", **fields)
    return list[columns]


class Error(BaseModel):
    """Every error body."""

    detail: str


class StreamEvent(BaseModel):
    """One server-sent event. `data` is JSON; only events of resumable runs have an id."""

    event: str
    data: str
    id: str = ""


class ThreadTtl(BaseModel):
    """When and how a thread expires."""

    strategy: Literal["delete", "keep_latest"]
    ttl_minutes: float
    expires_at: datetime | None


class Thread(BaseModel):
    """A thread. One that never ran has no `error` and no `interrupts`."""

    thread_id: str
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    metadata: JsonObject
    status: ThreadStatus
    config: JsonObject
    values: Any
    error: JsonObject | None = None
    interrupts: dict[str, list[JsonObject]] = {}
    ttl: ThreadTtl | None = None
    extracted: JsonObject = {}


class ThreadCopy(Thread):
    """A fresh copy of a thread. Its values are known to `/state` only."""

    values: Any = None


class Pruned(BaseModel):
    """Answer of a prune."""

    pruned_count: int


class Storage(BaseModel):
    """What a thread's checkpoints occupy."""

    thread_id: str
    total_bytes: int
    checkpoints: JsonObject
    channel_values: JsonObject
    pending_writes: JsonObject


class ThreadState(BaseModel):
    """A snapshot of a thread's state."""

    values: Any
    next: list[str]
    tasks: list[JsonObject]
    metadata: JsonObject | None
    created_at: datetime | None
    checkpoint: JsonObject | None
    parent_checkpoint: JsonObject | None
    interrupts: list[JsonObject]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None


class StateUpdated(BaseModel):
    """Answer of a state update."""

    checkpoint: JsonObject
    configurable: JsonObject
    checkpoint_id: str


class Run(BaseModel):  # type: ignore[no-redef]  # the plugin's __init__ has **kwargs too
    """A run."""

    run_id: str
    thread_id: str
    assistant_id: str
    status: Literal["pending", "running", "success", "error", "timeout", "interrupted"]
    metadata: JsonObject
    kwargs: JsonObject
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"]
    created_at: datetime
    updated_at: datetime
    langsmith_session_name: str | None


class Cron(BaseModel):
    """A cron. `next_run_date` is null when no tick is left before `end_time`."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    user_id: str
    end_time: datetime | None
    schedule: str
    timezone: str | None
    payload: JsonObject
    next_run_date: datetime | None
    metadata: JsonObject
    on_run_completed: Literal["delete", "keep"] | None
    enabled: bool
    created_at: datetime
    updated_at: datetime


class AssistantVersion(BaseModel):
    """One version of an assistant."""

    assistant_id: str
    graph_id: str
    config: JsonObject
    context: JsonObject
    metadata: JsonObject
    name: str
    created_at: datetime
    version: int
    description: str | None


class Assistant(AssistantVersion):
    """An assistant at its current version."""

    updated_at: datetime


class Drawing(BaseModel):
    """Nodes and edges of a graph."""

    nodes: list[JsonObject]
    edges: list[JsonObject]


class SubgraphSchemas(BaseModel):
    """JSON schemas of a subgraph."""

    input_schema: JsonObject | None
    output_schema: JsonObject | None
    state_schema: JsonObject | None
    config_schema: JsonObject | None
    context_schema: JsonObject | None


class Schemas(SubgraphSchemas):
    """JSON schemas of a graph."""

    graph_id: str


class Item(BaseModel):
    """An item of the store."""

    namespace: list[str]
    key: str
    value: JsonObject
    created_at: datetime
    updated_at: datetime


class KeyMissing(BaseModel):
    """The error body of a read that names no key."""

    error: str


class Hit(Item):
    """An item that a search found."""

    score: float | None


class Hits(BaseModel):
    """Answer of a search of the store."""

    items: list[Hit]


class Namespaces(BaseModel):
    """Answer of a listing of namespaces."""

    namespaces: list[list[str]]


class Health(BaseModel):
    """The process serves."""

    ok: bool
    services: JsonObject


class QueueCounts(BaseModel):
    """Runs that wait and run, and how long those have waited that do; without `unblocked`: behind others too."""

    n_pending: int
    n_running: int
    pending_runs_wait_time_max_secs: float
    pending_runs_wait_time_med_secs: float
    pending_unblocked_runs_wait_time_max_secs: float


class RequestCount(BaseModel):
    """Requests that one replica has answered on one route with one status."""

    method: str
    path: str
    status: str
    count: int


class ApiCounts(BaseModel):
    """What one replica of the gateway has answered."""

    http_requests_total: list[RequestCount]


class WorkerCounts(BaseModel):
    """Slots of all executors."""

    max: int
    active: int
    available: int


class Metrics(BaseModel):
    """Counts of the queue, of this replica and of the executors."""

    queue: QueueCounts
    api: ApiCounts
    workers: WorkerCounts


class Info(BaseModel):
    """What the server is."""

    version: str
    langgraph_py_version: str | None
    flags: dict[str, bool]
    host: JsonObject
