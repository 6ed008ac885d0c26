"""The state of a thread: read, at a checkpoint, update, history. Answered by the executor, which knows the graph."""

from collections.abc import Sequence
from typing import Any

import grpc
import orjson
import structlog
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from threadmill_protos.runs.v1 import graphs_pb2, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from threadmill_gateway import encode
from threadmill_gateway.arrays import array_response
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import answering, refuse
from threadmill_gateway.models import answers
from threadmill_gateway.models.state import Checkpoint, HistoryBefore, HistorySearch, StateAtCheckpoint, StateUpdate
from threadmill_gateway.requests import INT32_MAX, canonical_uuid, path_id, query_flag, read
from threadmill_gateway.responses import next_of
from threadmill_gateway.routes.endpoint import Endpoint, Query
from threadmill_gateway.routes.threads import load_thread, not_found

log = structlog.get_logger(__name__)


async def get_state(request: Request, gateway: Gateway) -> Response:
    """The latest state."""
    return await _state(gateway, path_id(request, "thread"), Checkpoint(), query_flag(request, "subgraphs"))


async def get_state_at(request: Request, gateway: Gateway) -> Response:
    """The state at a checkpoint of the path."""
    checkpoint = Checkpoint(checkpoint_id=request.path_params["checkpoint_id"])
    return await _state(gateway, path_id(request, "thread"), checkpoint, query_flag(request, "subgraphs"))


async def post_state_at(request: Request, gateway: Gateway) -> Response:
    """The state at a checkpoint of the body, which may lie in a subgraph."""
    thread_id = path_id(request, "thread")
    body = await read(request, StateAtCheckpoint, gateway.settings.http_max_request_body_bytes)
    return await _state(gateway, thread_id, body.checkpoint, body.subgraphs)


async def _state(gateway: Gateway, thread_id: str, checkpoint: Checkpoint, subgraphs: bool) -> Response:
    wanted = checkpoint.checkpoint_id
    if wanted and canonical_uuid(wanted) is None:
        await load_thread(gateway, thread_id)
        return encode.document_response(empty_state(thread_id, checkpoint))
    question = graphs_pb2.GetStateRequest(thread_id=thread_id, checkpoint_json=_json(checkpoint), subgraphs=subgraphs)
    with answering(THREAD_NOT_FOUND=not_found(thread_id)):
        found = await gateway.clients.ask(gateway.clients.graphs.GetState, question)
    if not found.json:
        return encode.document_response(empty_state(thread_id, checkpoint))
    return encode.json_response(found.json)


def _graph(row: threads_pb2.Thread) -> graphs_pb2.GraphRequest | None:
    """The graph that serves a thread; None until a run or the client has named one."""
    metadata = orjson.loads(row.metadata_json or b"{}")
    graph_id = metadata.get("graph_id")
    if not isinstance(graph_id, str) or not graph_id:
        return None
    return graphs_pb2.GraphRequest(graph_id=graph_id, config_json=_unbound(row.config_json))


def _unbound(config_json: bytes) -> bytes:
    """The latest run's config without the checkpoint that it may have started from, which is not the state's."""
    if b'"checkpoint_' not in config_json:
        return config_json
    config = orjson.loads(config_json)
    configurable = config.get("configurable") or {}
    kept = {key: value for key, value in configurable.items() if key not in Checkpoint.model_fields}
    return encode.dumps({**config, "configurable": kept})


def _json(checkpoint: Checkpoint | None) -> bytes:
    named = checkpoint.configurable() if checkpoint else {}
    return encode.dumps(named) if named else b""


def empty_state(thread_id: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """The state where no checkpoint is: the one that was asked for is echoed."""
    echoed = None
    if checkpoint.checkpoint_id:
        echoed = {"checkpoint_ns": "", **checkpoint.configurable(), "thread_id": thread_id}
    return {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": None,
        "created_at": None,
        "checkpoint": echoed,
        "parent_checkpoint": None,
        "interrupts": [],
        "checkpoint_id": checkpoint.checkpoint_id,
        "parent_checkpoint_id": None,
    }


async def update_state(request: Request, gateway: Gateway) -> Response:
    """Applies an update; afterwards the new state goes out on the thread's stream."""
    thread_id = path_id(request, "thread")
    body = await read(request, StateUpdate, gateway.settings.http_max_request_body_bytes)
    found, publish = await apply_update(gateway, thread_id, body)
    return encode.json_response(found.json, background=publish)


async def apply_update(
    gateway: Gateway, thread_id: str, body: StateUpdate
) -> tuple[graphs_pb2.JsonDocument, BackgroundTask]:
    """Updates the state; gives the answer and what is to follow it. 404, 409 while busy, 400 without a graph."""
    row = await load_thread(gateway, thread_id)
    busy = f"Thread {thread_id} has in-flight runs: wait for them to finish, or cancel them, before updating its state"
    if row.state == threads_pb2.THREAD_STATE_BUSY:
        raise refuse(409, busy)
    graph = _graph(row)
    if graph is None:
        raise refuse(400, f"Thread '{thread_id}' has no assigned graph ID. Run a graph on it, or set metadata.graph_id")
    question = graphs_pb2.UpdateStateRequest(
        graph=graph,
        thread_id=thread_id,
        values_json=encode.dumps(body.values),
        as_node=body.as_node or "",
        checkpoint_json=_json(_base(body)),
    )
    with answering(THREAD_BUSY=(409, busy)):
        found = await gateway.clients.ask(gateway.clients.graphs.UpdateState, question)
    return found, BackgroundTask(_publish, gateway, graph, thread_id)


def _base(body: StateUpdate) -> Checkpoint:
    """The checkpoint that an update builds on; unlike a read, an update of a malformed one is refused."""
    checkpoint = body.checkpoint or Checkpoint()
    if body.checkpoint_id:
        checkpoint = checkpoint.model_copy(update={"checkpoint_id": body.checkpoint_id})
    if checkpoint.checkpoint_id and canonical_uuid(checkpoint.checkpoint_id) is None:
        raise refuse(422, "Invalid checkpoint ID")
    return checkpoint


async def _publish(gateway: Gateway, graph: graphs_pb2.GraphRequest, thread_id: str) -> None:
    """Puts the state after an update on the thread's stream. A failure costs listeners a hint, never the update."""
    clients = gateway.clients
    try:
        state = await clients.ask(clients.graphs.GetState, graphs_pb2.GetStateRequest(graph=graph, thread_id=thread_id))
        await clients.ask(
            clients.runs.PublishStateUpdate,
            runs_pb2.PublishStateUpdateRequest(thread_id=thread_id, state_json=state.json),
        )
    except grpc.aio.AioRpcError as error:
        log.warning("state_update_not_published", thread_id=thread_id, error=error.details())


async def get_history(request: Request, gateway: Gateway) -> Response:
    """The history by query parameters: `limit` and `before`."""
    thread_id = path_id(request, "thread")
    text = request.query_params.get("limit", "1")
    try:
        limit = int(text)
    except ValueError as error:
        raise refuse(422, f"Invalid limit {text}") from error
    before = request.query_params.get("before")
    return await _history(
        gateway, thread_id, limit=min(limit, INT32_MAX), before_json=_before(HistoryBefore(checkpoint_id=before))
    )


async def post_history(request: Request, gateway: Gateway) -> Response:
    """The history by a body, with filters."""
    thread_id = path_id(request, "thread")
    body = await read(request, HistorySearch, gateway.settings.http_max_request_body_bytes)
    return await _history(
        gateway,
        thread_id,
        limit=body.limit,
        before_json=_before(body.before),
        metadata_json=encode.dumps(body.metadata) if body.metadata else b"",
        checkpoint_json=_json(body.checkpoint),
    )


def _before(before: HistoryBefore | None) -> bytes:
    """The bound; one that is no checkpoint id is refused, as nothing could lie before it."""
    if before is None:
        return b""
    checkpoint_id = (before.configurable and before.configurable.checkpoint_id) or before.checkpoint_id
    if not checkpoint_id:
        return b""
    if canonical_uuid(checkpoint_id) is None:
        raise refuse(422, "Invalid checkpoint ID")
    return encode.dumps({"checkpoint_id": checkpoint_id})


async def _history(
    gateway: Gateway,
    thread_id: str,
    *,
    limit: int,
    before_json: bytes,
    metadata_json: bytes = b"",
    checkpoint_json: bytes = b"",
) -> Response:
    graph = _graph(await load_thread(gateway, thread_id))
    if graph is None or limit <= 0:
        return encode.json_response(b"[]")
    question = graphs_pb2.GetHistoryRequest(
        graph=graph,
        thread_id=thread_id,
        limit=limit,
        before_json=before_json,
        metadata_json=metadata_json,
        checkpoint_json=checkpoint_json,
    )
    method = gateway.clients.graphs.GetHistory
    call = gateway.clients.follow(method, question)

    async def next_states() -> Sequence[bytes]:
        watch = gateway.clients.watch(method, call)
        message = await next_of(call, gateway.settings.call_timeout_seconds, watch)
        return () if message is grpc.aio.EOF else message.states_json

    return await array_response(call, next_states)


_STATE = "/threads/{thread_id}/state"
_HISTORY = "/threads/{thread_id}/history"
# 400: a factory that raises.
_READ_ERRORS = (400, 404, 422)
_SUBGRAPHS = Query("subgraphs", "Nest the states of pending subgraphs", {"type": "boolean", "default": False})
ENDPOINTS = (
    Endpoint(
        "POST",
        _STATE + "/checkpoint",
        post_state_at,
        "Read the state at a checkpoint",
        StateAtCheckpoint,
        answers.ThreadState,
        errors=_READ_ERRORS,
    ),
    Endpoint(
        "GET",
        _STATE,
        get_state,
        "Read the state",
        answer=answers.ThreadState,
        errors=_READ_ERRORS,
        query=(_SUBGRAPHS,),
    ),
    Endpoint(
        "POST",
        _STATE,
        update_state,
        "Update the state",
        StateUpdate,
        answers.StateUpdated,
        errors=(400, 404, 409, 422),
    ),
    Endpoint(
        "GET",
        _STATE + "/{checkpoint_id}",
        get_state_at,
        "Read the state at a checkpoint",
        answer=answers.ThreadState,
        errors=_READ_ERRORS,
        query=(_SUBGRAPHS,),
    ),
    Endpoint(
        "GET",
        _HISTORY,
        get_history,
        "Read the history",
        answer=list[answers.ThreadState],
        errors=_READ_ERRORS,
        query=(
            Query("limit", "At most so many states; none for 0 or less", {"type": "integer", "default": 1}),
            Query("before", "Checkpoint id, exclusive"),
        ),
    ),
    Endpoint(
        "POST",
        _HISTORY,
        post_history,
        "Search the history",
        HistorySearch,
        list[answers.ThreadState],
        errors=_READ_ERRORS,
    ),
)
