"""Bodies of the assistant endpoints."""

from typing import Annotated, Literal

from pydantic import Field

from threadmill_gateway.models.base import (
    Absent,
    AssistantId,
    Integer,
    JsonObject,
    Limit,
    Model,
    Name,
    Offset,
    OrderOfColumn,
    Text,
)
from threadmill_gateway.models.runs import Config
from threadmill_gateway.requests import INT32_MAX

AssistantColumn = Literal[
    "assistant_id",
    "graph_id",
    "name",
    "description",
    "config",
    "context",
    "created_at",
    "updated_at",
    "metadata",
    "version",
]


class AssistantCreate(Model):
    """Body of POST /assistants."""

    graph_id: Name
    assistant_id: Absent[AssistantId] = None
    config: Config = Field(default_factory=dict)
    context: JsonObject = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)
    name: Annotated[Text, Field(description="Empty: Untitled")] = "Untitled"
    description: Text | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"


class AssistantPatch(Model):
    """Body of PATCH /assistants/{assistant_id}: what is absent stays, and metadata is merged.

    A context, or a config with a `configurable`, replaces config and context whole, as they mirror each other. A config
    without one replaces the config alone, the context `{}` the context alone, and the config `{}` nothing.
    """

    graph_id: Absent[Name] = None
    config: Absent[Config] = None
    context: Absent[JsonObject] = None
    metadata: Absent[JsonObject] = None
    name: Absent[Annotated[Text, Field(description="May be empty")]] = None
    description: Text | None = None


class AssistantCount(Model):
    """Body of POST /assistants/count."""

    metadata: Absent[JsonObject] = None
    graph_id: Absent[Text] = None
    name: Absent[Text] = None


class AssistantSearch(AssistantCount):
    """Body of POST /assistants/search."""

    limit: Limit = 10
    offset: Offset = 0
    sort_by: Absent[Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"]] = None
    sort_order: Absent[OrderOfColumn] = None
    select: list[AssistantColumn] = Field(default_factory=list)


class VersionSearch(Model):
    """Body of POST /assistants/{assistant_id}/versions."""

    metadata: Absent[JsonObject] = None
    limit: Limit = 10
    offset: Offset = 0


class LatestVersion(Model):
    """Body of POST /assistants/{assistant_id}/latest."""

    version: Absent[Annotated[Integer, Field(ge=-INT32_MAX, le=INT32_MAX)]] = None
