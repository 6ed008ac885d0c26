"""Bodies and answers of the Agent Protocol."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from threadmill_gateway.models.base import Absent, CheckpointId, JsonObject, Limit, Model, Name, Offset, Text, ThreadId
from threadmill_gateway.models.runs import Config, OnDisconnect, Webhook

AgentStreamMode = Literal["values", "messages", "updates", "custom"]
AgentRunStatus = Literal["pending", "error", "success", "timeout", "interrupted"]


class AgentMessage(Model):
    """A message. Keys beside the protocol's own, such as `tool_call_id`, pass through."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    role: str
    content: str | list[JsonObject]
    id: Absent[str] = None
    metadata: Absent[JsonObject] = None


class AgentSearch(Model):
    """Body of POST /agents/search."""

    name: Absent[Text] = None
    metadata: Absent[JsonObject] = None
    limit: Limit = 10
    offset: Offset = 0


class AgentRunCreate(Model):
    """Body of POST /runs/wait. Without an agent, the first graph that is declared runs."""

    thread_id: Absent[ThreadId] = None
    agent_id: Absent[Name] = None
    input: Any = None
    messages: Absent[list[AgentMessage]] = None
    metadata: JsonObject = Field(default_factory=dict)
    config: Config = Field(default_factory=dict)
    webhook: Absent[Webhook] = None
    on_completion: Absent[Literal["delete", "keep"]] = None
    on_disconnect: OnDisconnect = "cancel"
    if_not_exists: Literal["create", "reject"] = "reject"


class AgentRunStream(AgentRunCreate):
    """Body of POST /runs and POST /runs/stream."""

    stream_mode: AgentStreamMode | list[AgentStreamMode] = "values"


class AgentRunSearch(Model):
    """Body of POST /runs/search."""

    metadata: Absent[JsonObject] = None
    status: Absent[AgentRunStatus] = None
    thread_id: Absent[ThreadId] = None
    agent_id: Absent[Name] = None
    limit: Limit = 10
    offset: Offset = 0


class PatchCheckpoint(Model):
    """The checkpoint that a patch branches from."""

    checkpoint_id: CheckpointId


class AgentThreadPatch(Model):
    """Body of PATCH /threads/{thread_id} with a new state: values and messages, or a checkpoint to return to."""

    checkpoint: Absent[PatchCheckpoint] = None
    metadata: Absent[JsonObject] = None
    values: Absent[JsonObject] = None
    messages: Absent[list[AgentMessage]] = None


class Agent(BaseModel):
    """An agent: an assistant, by the protocol's name."""

    agent_id: str
    name: str
    description: str = ""
    metadata: JsonObject
    capabilities: JsonObject


class AgentSchemas(BaseModel):
    """JSON schemas of an agent."""

    agent_id: str
    input_schema: JsonObject
    output_schema: JsonObject
    state_schema: JsonObject = {}
    config_schema: JsonObject = {}


class AgentRun(BaseModel):
    """A run. One that executes is still `pending`: the protocol knows no `running`."""

    run_id: str
    thread_id: str
    agent_id: str
    status: AgentRunStatus
    created_at: datetime
    updated_at: datetime
    metadata: JsonObject
    input: Any
    config: JsonObject
    stream_mode: list[AgentStreamMode]
    on_completion: Literal["delete", "keep"]
    webhook: str = ""


class AgentRunResult(BaseModel):
    """What a run came to. A failed one has `error`."""

    run: AgentRun
    values: JsonObject
    messages: list[AgentMessage] = []
    error: JsonObject = {}


class AgentThread(BaseModel):
    """A thread; `messages` only where its state has some."""

    thread_id: str
    created_at: datetime
    updated_at: datetime
    metadata: JsonObject
    status: Literal["idle", "busy", "interrupted", "error"]
    values: JsonObject = {}
    messages: list[AgentMessage] = []


class AgentProblem(BaseModel):
    """Every error body of the protocol. `code` is stable, for programs; `message` is for people."""

    code: str
    message: str
    metadata: JsonObject
