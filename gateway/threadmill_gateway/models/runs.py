"""Bodies of the run endpoints. Each way to create a run has its own fields; what it does not have, it ignores."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, RootModel, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from threadmill_gateway.errors import describe
from threadmill_gateway.models.base import (
    NO_NUL,
    Absent,
    CheckpointId,
    Integer,
    JsonObject,
    Model,
    Name,
    RunId,
    Text,
    ThreadId,
    fail,
)

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
Webhook = Annotated[str, Field(min_length=1, max_length=65536, pattern=NO_NUL)]
OnDisconnect = Literal["cancel", "continue"]


class RunConfig(Model):
    """The keys of a config that have a type; all others pass through."""

    tags: Absent[list[str]] = None
    recursion_limit: Absent[Integer] = None
    configurable: Absent[JsonObject] = None
    metadata: Absent[JsonObject] = None


def _check_update(update: Any) -> Any:
    pairs = isinstance(update, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in update)
    if not (update is None or isinstance(update, dict) or pairs):
        fail("update: must be an object, or a list of [key, value] pairs")
    return update


def _check_goto(goto: Any) -> Any:
    for target in goto if isinstance(goto, list) else () if goto is None else (goto,):
        sends = isinstance(target, dict) and isinstance(target.get("node"), str)
        if not (sends or isinstance(target, str)):
            fail("goto: must be the name of a node, an object {node, input}, or a list of these")
    return goto


class RunCommand(Model):
    """The keys of a command that have a type; `resume` is any JSON, unknown keys pass through."""

    update: Annotated[Any, AfterValidator(_check_update)] = None
    goto: Annotated[Any, AfterValidator(_check_goto)] = None


def _checked_by(model: type[Model]) -> Callable[[JsonObject], JsonObject]:
    """A validator that keeps the object as the client sent it, once `model` accepts it."""

    def check(given: JsonObject) -> JsonObject:
        try:
            model.model_validate(given)
        except ValidationError as error:
            raise PydanticCustomError("nested", "{text}", {"text": describe(error)}) from error
        return given

    return check


Config = Annotated[JsonObject, AfterValidator(_checked_by(RunConfig))]
Command = Annotated[JsonObject, AfterValidator(_checked_by(RunCommand))]


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


class NewRun(Model):
    """What all ways to create a run have."""

    assistant_id: Name
    input: Any = None
    command: Command | None = None
    config: Config = Field(default_factory=dict)
    context: JsonObject = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)
    checkpoint: RunCheckpoint | None = None
    checkpoint_id: CheckpointId | None = None
    stream_mode: StreamMode | list[StreamMode] = Field(default_factory=list)
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    interrupt_before: Nodes | None = None
    interrupt_after: Nodes | None = None
    after_seconds: Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)] = 0
    durability: Absent[Literal["sync", "async", "exit"]] = None
    checkpoint_during: Absent[bool] = None
    webhook: Absent[Webhook] = None
    feedback_keys: list[Text] = Field(default_factory=list)
    langsmith_tracer: LangsmithTracer | None = None

    def stream_modes(self) -> list[str]:
        """The modes as a list without repetition; empty means the default."""
        given = [self.stream_mode] if isinstance(self.stream_mode, str) else self.stream_mode
        return list(dict.fromkeys(given))


class RunCreate(NewRun):
    """Body of POST /threads/{thread_id}/runs."""

    checkpoint: Absent[RunCheckpoint] = None
    interrupt_before: Absent[Nodes] = None
    interrupt_after: Absent[Nodes] = None
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"] = "enqueue"
    if_not_exists: Literal["create", "reject"] = "reject"


class RunFollow(RunCreate):
    """Body of the same with /wait or /stream, where a client can go away."""

    on_disconnect: OnDisconnect = "continue"


class StatelessRunCreate(NewRun):
    """Body of POST /runs."""

    on_completion: Literal["delete", "keep"] = "delete"


class StatelessRunFollow(StatelessRunCreate):
    """Body of POST /runs/wait and /runs/stream."""

    on_disconnect: OnDisconnect = "continue"


class RunBatch(RootModel[Annotated[list[StatelessRunCreate], Field(min_length=1)]]):
    """Body of POST /runs/batch."""


class RunsCancel(Model):
    """Body of POST /runs/cancel: a status, or the named runs of a thread."""

    status: Absent[Literal["pending", "running", "all"]] = None
    thread_id: Absent[ThreadId] = None
    run_ids: Absent[list[RunId]] = None

    @model_validator(mode="after")
    def _one_way(self) -> "RunsCancel":
        by_name = self.thread_id is not None and self.run_ids is not None
        half = (self.thread_id is None) != (self.run_ids is None)
        if half or by_name == (self.status is not None):
            fail("Give either 'status', or both 'thread_id' and 'run_ids'")
        return self
