"""Bodies of the state and history endpoints."""

from typing import Any

from threadmill_gateway.models.base import Absent, JsonObject, Limit, Model, NamedCheckpoint, Text


class Checkpoint(Model):
    """Names a checkpoint. Ids that do not exist, or are malformed, name an empty state rather than fail."""

    thread_id: str | None = None
    checkpoint_id: NamedCheckpoint | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: JsonObject | None = None

    def configurable(self) -> dict[str, Any]:
        """The keys that choose a checkpoint."""
        return self.model_dump(exclude_none=True, exclude={"thread_id"})


class StateAtCheckpoint(Model):
    """Body of POST /threads/{thread_id}/state/checkpoint."""

    checkpoint: Checkpoint
    subgraphs: bool = False


class StateUpdate(Model):
    """Body of POST /threads/{thread_id}/state."""

    values: JsonObject | list[Any] | None = None
    as_node: Absent[Text] = None
    checkpoint: Absent[Checkpoint] = None
    checkpoint_id: NamedCheckpoint | None = None


class HistoryBefore(Model):
    """Exclusive bound: `{"configurable": {"checkpoint_id"}}` or, as the Python SDK sends it, the flat checkpoint."""

    configurable: Checkpoint | None = None
    checkpoint_id: NamedCheckpoint | None = None


class HistorySearch(Model):
    """Body of POST /threads/{thread_id}/history."""

    limit: Limit = 1
    before: Absent[HistoryBefore] = None
    metadata: Absent[JsonObject] = None
    checkpoint: Absent[Checkpoint] = None
