"""Reading thread states, also those that their own graph refuses.

To name the tasks that come next, LangGraph prepares them as if they were to run, and passes the state through the input
schemas of their nodes. So a state that a pydantic schema rejects (a run's invalid input, a state from before the schema
changed) could not be read by anybody any more, though its values are there. Nothing runs here, so the schemas are left
out; and of what cannot be read even then, the values of the channels are shown as they are stored.
"""

import copy
from collections.abc import Mapping
from typing import Any

import grpc
import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.pregel import Pregel
from langgraph.pregel._read import PregelNode
from langgraph.types import StateSnapshot
from threadmill_chassis.errors import DomainError

from threadmill_runs.executor.graphs.registry import AnyPregel

log = structlog.get_logger(__name__)

# No failures of reading a state, but of reaching the checkpoints at all: a second try would only take as long.
UNREACHABLE = (grpc.RpcError, DomainError)
# Channels by which LangGraph itself keeps the order of nodes.
_INTERNAL = ("__", "branch:", "join:")
_ROOT = "__root__"


def unchecked(graph: AnyPregel) -> AnyPregel:
    """The graph and its subgraphs without the input schemas and cache keys of their nodes: for all but running it."""
    nodes = {name: _unchecked_node(node) for name, node in graph.nodes.items()}
    if all(nodes[name] is node for name, node in graph.nodes.items()):
        return graph
    view = copy.copy(graph)
    view.nodes = nodes
    return view


def _unchecked_node(node: PregelNode) -> PregelNode:
    subgraphs = [unchecked(each) if isinstance(each, Pregel) else each for each in node.subgraphs]
    same = all(new is old for new, old in zip(subgraphs, node.subgraphs, strict=True))
    if node.mapper is None and node.cache_policy is None and same:
        return node
    return node.copy({"mapper": None, "cache_policy": None, "subgraphs": subgraphs})


async def read_state(graph: AnyPregel, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
    """The state at the checkpoint that `config` names, or the latest. Raises what the checkpointer does.

    The latest shows what its tasks have written so far. If the channels refuse that (two values for one that takes
    one), it is shown as it was before the tasks began; and if it cannot be read so either, as the bare values.
    """
    view = unchecked(graph)
    try:
        return await view.aget_state(config, subgraphs=subgraphs)
    except UNREACHABLE:
        raise
    except Exception as error:
        saved = await _saver(view).aget_tuple(config)
        if saved is None:
            raise
        log.info("state_not_readable_live", error=repr(error))
        return await _recorded(view, config, saved, subgraphs=subgraphs)


async def read_history(
    view: AnyPregel,
    config: RunnableConfig,
    *,
    metadata: dict[str, Any] | None,
    before: RunnableConfig | None,
    limit: int,
) -> list[StateSnapshot]:
    """The newest states before a bound, at most `limit`, through a graph that is `unchecked`; fewer, but at least one,
    if its checkpointer ends listings early. Raises what the checkpointer does."""
    try:
        past = view.aget_state_history(config, filter=metadata, before=before, limit=limit)
        return [snapshot async for snapshot in past]
    except UNREACHABLE:
        raise
    except Exception as error:  # noqa: BLE001 - one state among them, which is shown otherwise
        log.info("history_not_readable", error=repr(error))
    listed = _saver(view).alist(config, filter=metadata, before=before, limit=limit)
    return [await _recorded(view, config, saved) async for saved in listed]


async def _recorded(
    view: AnyPregel, config: RunnableConfig, saved: CheckpointTuple, *, subgraphs: bool = False
) -> StateSnapshot:
    """The state at a checkpoint as the history shows it, else its bare values."""
    there: RunnableConfig = {**config, "configurable": {**config["configurable"], **saved.config["configurable"]}}
    try:
        return await view.aget_state(there, subgraphs=subgraphs)
    except UNREACHABLE:
        raise
    except Exception as error:  # noqa: BLE001 - channels of the user's that do not take what they stored
        log.warning("state_shown_as_stored", error=repr(error))
        return StateSnapshot(
            values=_stored_values(saved.checkpoint["channel_values"]),
            next=(),
            config=saved.config,
            metadata=saved.metadata,
            created_at=saved.checkpoint["ts"],
            parent_config=saved.parent_config,
            tasks=(),
            interrupts=(),
        )


def _stored_values(channels: Mapping[str, Any]) -> Any:
    """What a checkpoint holds for its graph's users."""
    if _ROOT in channels:
        return channels[_ROOT]
    return {name: value for name, value in channels.items() if not name.startswith(_INTERNAL)}


def _saver(graph: AnyPregel) -> BaseCheckpointSaver[str]:
    assert isinstance(graph.checkpointer, BaseCheckpointSaver)  # the registry attached it
    return graph.checkpointer
