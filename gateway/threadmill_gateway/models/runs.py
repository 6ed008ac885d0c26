"""Bodies of the run endpoints."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, RootModel, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from threadmill_gateway.errors import describe
from threadmill_gateway.models.base import Absent, CheckpointId, JsonObject, Model, RunId, ThreadId, fail

StreamMode = Literal[
    "values", "messages", "messages-tuple", "tasks", "checkpoints", "updates", "events", "debug", "custom"
]
RunColumn = Literal[
    "run_id",
    "thread_id",
    "assistant_id",
    "status",
    "metadata",
    "kwargs",
    "multitask_strategy",
    "created_at",
    "updated_at",
    "langsmith_session_name",
]
Nodes = Literal["*"] | list[str]


class RunConfig(Model):
    """The keys of a config that have a type; all others pass through."""

    tags: Absent[list[str]] = None
    recursion_limit: Absent[int] = None
    configurable: Absent[JsonObject] = None
    metadata: Absent[JsonObject] = None


def _check_config(config: JsonObject) -> JsonObject:
    try:
        RunConfig.model_validate(config)
    except ValidationError as error:
        raise PydanticCustomError("config", "{text}", {"text": describe(error)}) from error
    return config


Config = Annotated[JsonObject, AfterValidator(_check_config)]


class RunCheckpoint(Model):
    """The checkpoint to start from."""

    thread_id: str | None = None
    checkpoint_id: CheckpointId | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: JsonObject | None = None


class LangsmithTracer(Model):
    """Where traces of the run go."""

    project_name: str | None = None
    example_id: str | None = None


class RunCreate(Model):
    """Body of every endpoint that creates a run."""

    assistant_id: Annotated[str, Field(min_length=1)]
    input: Any = None
    command: JsonObject | None = None
    config: Config = Field(default_factory=dict)
    context: JsonObject = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)
    checkpoint: Absent[RunCheckpoint] = None
    checkpoint_id: Absent[CheckpointId] = None
    stream_mode: StreamMode | list[StreamMode] = Field(default_factory=list)
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    interrupt_before: Absent[Nodes] = None
    interrupt_after: Absent[Nodes] = None
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"] = "enqueue"
    if_not_exists: Literal["create", "reject"] = "reject"
    on_disconnect: Literal["cancel", "continue"] = "continue"
    on_completion: Literal["delete", "keep"] = "delete"
    after_seconds: Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)] = 0
    durability: Absent[Literal["sync", "async", "exit"]] = None
    checkpoint_during: Absent[bool] = None
    webhook: Absent[Annotated[str, Field(min_length=1, max_length=65536)]] = None
    feedback_keys: list[str] = Field(default_factory=list)
    langsmith_tracer: Absent[LangsmithTracer] = None

    def stream_modes(self) -> list[str]:
        """The modes as a list without repetition; empty means the default."""
        given = [self.stream_mode] if isinstance(self.stream_mode, str) else self.stream_mode
        return list(dict.fromkeys(given))


class RunBatch(RootModel[Annotated[list[RunCreate], Field(min_length=1)]]):
    """Body of POST /runs/batch."""


class RunsCancel(Model):
    """Body of POST /runs/cancel: a status, or the named runs of a thread."""

    status: Absent[Literal["pending", "running", "all"]] = None
    thread_id: Absent[ThreadId] = None
    run_ids: Absent[Annotated[list[RunId], Field(min_length=1)]] = None

    @model_validator(mode="after")
    def _one_way(self) -> "RunsCancel":
        by_name = self.thread_id is not None and self.run_ids is not None
        half = (self.thread_id is None) != (self.run_ids is None)
        if half or by_name == (self.status is not None):
            fail("Give either 'status', or both 'thread_id' and 'run_ids'")
        return self
