"""State snapshots as the REST API shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt, PregelTask, StateSnapshot

Json = dict[str, Any]


def thread_state(snapshot: StateSnapshot) -> Json:
    """The ThreadState of a snapshot, its keys in the order of the contract; values are left for `encode`."""
    return {
        "values": snapshot.values,
        "next": list(snapshot.next),
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": _metadata(snapshot),
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint_ref(snapshot.config),
        "parent_checkpoint": checkpoint_ref(snapshot.parent_config),
        "interrupts": interrupts(snapshot.interrupts),
        "checkpoint_id": _configurable(snapshot.config).get("checkpoint_id"),
        "parent_checkpoint_id": _configurable(snapshot.parent_config).get("checkpoint_id"),
    }


def interrupts(raised: Sequence[Interrupt[Any]]) -> list[Json]:
    """REST form of interrupts: {id, value}, and response_schema if there is one."""
    return [
        {"id": one.id, "value": one.value}
        | ({"response_schema": one.response_schema} if one.response_schema is not None else {})
        for one in raised
    ]


def interrupts_by_task(snapshot: StateSnapshot) -> dict[str, list[Json]]:
    """{task id: [interrupt]} of the tasks that wait for an answer, as thread rows hold them."""
    waiting = {one.id for one in snapshot.interrupts}
    by_task = {task.id: [one for one in task.interrupts if one.id in waiting] for task in snapshot.tasks}
    return {task_id: interrupts(raised) for task_id, raised in by_task.items() if raised}


def checkpoint_ref(config: RunnableConfig | None) -> Json | None:
    """The checkpoint that a config names; None if it names none."""
    where = _configurable(config)
    if not where.get("thread_id") or not where.get("checkpoint_id"):
        return None
    reference = {
        "checkpoint_id": where["checkpoint_id"],
        "thread_id": where["thread_id"],
        "checkpoint_ns": where.get("checkpoint_ns") or "",
    }
    if where.get("checkpoint_map"):
        reference["checkpoint_map"] = where["checkpoint_map"]
    return reference


def _metadata(snapshot: StateSnapshot) -> Json | None:
    """The checkpoint's metadata and the thread in which it lies, which is not stored, so that copies are right."""
    if snapshot.metadata is None:
        return None
    return {**snapshot.metadata, "thread_id": _configurable(snapshot.config).get("thread_id")}


def _task(task: PregelTask) -> Json:
    nested = task.state if isinstance(task.state, StateSnapshot) else None
    return {
        "id": task.id,
        "name": task.name,
        "path": list(task.path),
        "error": _error(task.error),
        "interrupts": interrupts(task.interrupts),
        "checkpoint": None if nested is not None or task.state is None else _subgraph_ref(task.state),
        "state": thread_state(nested) if nested is not None else None,
        "result": task.result,
    }


def _subgraph_ref(state: Any) -> Json:
    where = _configurable(state)
    return {key: where[key] for key in ("thread_id", "checkpoint_ns") if key in where}


def _error(error: object) -> str | None:
    """Text of a task's error: stored checkpoints hold its repr already."""
    return error if error is None or isinstance(error, str) else repr(error)


def _configurable(config: Any) -> Mapping[str, Any]:
    return (config or {}).get("configurable") or {}
