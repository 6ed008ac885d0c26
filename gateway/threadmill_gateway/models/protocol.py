"""Messages of the thread-streaming protocol, for OpenAPI only: they are read, and written, by hand."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from threadmill_gateway.models.base import JsonObject

Channel = Annotated[
    str, Field(pattern="^(values|updates|messages|tools|custom|lifecycle|input|tasks|checkpoints|custom:.+)$")
]


class EventStreamRequest(BaseModel):
    """Which events of the thread to stream."""

    channels: list[Channel] = Field(min_length=1)
    namespaces: list[list[str]] = Field([], description="Only of these subgraphs and what is below them")
    depth: int | None = Field(None, ge=0, description="At most so many levels below them")
    since: int = Field(0, ge=0, description="Only events after this `seq`")


class EventParams(BaseModel):
    """What an event tells."""

    namespace: list[str]
    timestamp: int
    data: Any


class ProtocolEvent(BaseModel):
    """The data of one server-sent event, whose name is `method` and whose id is `seq`."""

    type: Literal["event"]
    event_id: str
    seq: int
    method: str
    params: EventParams


# A boolean counts as one, as on the reference server.
CommandId = int | bool


class Command(BaseModel):
    """A command: `run.start` or `input.respond`, and what it needs. (`subscription.*` and `agent.getTree` are for
    WebSockets.)"""

    id: CommandId
    method: str
    params: JsonObject = {}


class CommandMeta(BaseModel):
    """About the answer."""

    applied_through_seq: int


class CommandSuccess(BaseModel):
    """The command was carried out."""

    type: Literal["success"]
    id: CommandId
    result: JsonObject
    meta: CommandMeta


class CommandError(BaseModel):
    """The command was not carried out. What is no command may have anything, or nothing, for an id."""

    type: Literal["error"]
    id: Any
    error: Literal[
        "invalid_argument",
        "unknown_command",
        "unknown_error",
        "no_such_run",
        "no_such_subscription",
        "no_such_interrupt",
    ]
    message: str


CommandAnswer = CommandSuccess | CommandError
