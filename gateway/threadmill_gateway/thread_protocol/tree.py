"""The graphs of a run as a tree, from its lifecycle events."""

from collections.abc import Iterable
from typing import Any

import orjson
from threadmill_protos.runs.v1.runs_pb2 import ProtocolEvent

Path = tuple[str, ...]


def tree_of(events: Iterable[ProtocolEvent]) -> dict[str, Any] | None:
    """`{namespace, status, graph_name, children?}` of the last run that begins in the events; None if none does."""
    nodes: dict[Path, dict[str, Any]] = {}
    for event in events:
        data = orjson.loads(event.data_json)
        path = tuple(event.namespace)
        if not path and data["event"] == "running":
            nodes.clear()
        node = nodes.setdefault(path, {"namespace": list(path), "status": "", "graph_name": ""})
        node["status"] = data["event"]
        node["graph_name"] = data.get("graph_name") or node["graph_name"]
    for path, node in nodes.items():
        if path and (parent := nodes.get(path[:-1])) is not None:
            parent.setdefault("children", []).append(node)
    return nodes.get(())
