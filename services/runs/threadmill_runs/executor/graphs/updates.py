"""Client JSON to the updates that LangGraph applies to a state."""

from typing import Any

from langgraph.types import Command, Send, StateUpdate

from threadmill_runs.executor.graphs.errors import UserError

Json = dict[str, Any]


def supersteps(document: object) -> list[list[StateUpdate]]:
    """`[{"updates": [{"values", "command", "as_node"}]}]` → supersteps. Raises UserError for another shape."""
    if not isinstance(document, list):
        raise UserError("supersteps must be a list")
    return [_superstep(item) for item in document]


def _superstep(item: object) -> list[StateUpdate]:
    updates = item.get("updates") if isinstance(item, dict) else None
    if not isinstance(updates, list) or not all(isinstance(update, dict) for update in updates):
        raise UserError('every superstep must be {"updates": [...]}')
    return [_update(update) for update in updates]


def _update(update: Json) -> StateUpdate:
    if not update.get("as_node"):
        raise UserError("every update needs as_node")
    values = to_command(update["command"]) if update.get("command") else update.get("values")
    return StateUpdate(values, update["as_node"], update.get("task_id"))  # type: ignore[arg-type]  # a Command works too


def to_command(document: object) -> Command[Any]:
    """`{"update", "resume", "goto"}` → Command; goto is a node, `{"node", "input"}`, or a list of them."""
    if not isinstance(document, dict):
        raise UserError("command must be an object")
    goto = document.get("goto") or ()
    targets = goto if isinstance(goto, list) else [goto] if goto else []
    return Command(
        update=command_update(document.get("update")),
        resume=document.get("resume"),
        goto=[_target(one) for one in targets],
    )


def command_update(update: Any) -> Any:
    """What a command writes. In a list LangGraph knows `(key, value)` pairs by their type, which JSON does not have."""
    if not isinstance(update, list):
        return update
    return [tuple(pair) if isinstance(pair, list) and len(pair) == 2 else pair for pair in update]


def _target(target: object) -> Send | str:
    if isinstance(target, str):
        return target
    if isinstance(target, dict) and isinstance(target.get("node"), str):
        return Send(target["node"], target.get("input"))
    raise UserError('goto must hold node names or {"node", "input"}')
