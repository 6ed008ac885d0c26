"""What the protocol adds to a thread: a patch of its state."""

from starlette.requests import Request
from starlette.responses import Response
from threadmill_protos.threads.v1 import threads_pb2

from threadmill_gateway import encode
from threadmill_gateway.agent_protocol import documents
from threadmill_gateway.agent_protocol.messages import joined
from threadmill_gateway.agent_protocol.models import AgentThreadPatch
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import answering
from threadmill_gateway.models.state import Checkpoint, StateUpdate
from threadmill_gateway.requests import path_id, read
from threadmill_gateway.routes.state import apply_update
from threadmill_gateway.routes.threads import load_thread, not_found
from threadmill_gateway.run_requests import without_reserved

# The node name by which LangGraph copies a checkpoint to the head of a thread.
COPY = "__copy__"


async def patch_thread(request: Request, gateway: Gateway) -> Response:
    """Updates the state, on the latest checkpoint or branching from an older one, then merges the metadata."""
    thread_id = path_id(request, "thread")
    body = await read(request, AgentThreadPatch, gateway.settings.http_max_request_body_bytes)
    publish = None
    if (update := _update(body)) is not None:
        _, publish = await apply_update(gateway, thread_id, update)
    row = await _merge_metadata(gateway, thread_id, body)
    return encode.document_response(documents.thread(row), background=publish)


def _update(body: AgentThreadPatch) -> StateUpdate | None:
    """The update that a patch asks for. A checkpoint alone is returned to; one beside metadata means nothing."""
    checkpoint = Checkpoint(checkpoint_id=body.checkpoint.checkpoint_id) if body.checkpoint else Checkpoint()
    if body.values is not None or body.messages is not None:
        return StateUpdate(values=joined(body.values, body.messages), checkpoint=checkpoint)
    if body.checkpoint is not None and body.metadata is None:
        return StateUpdate(values=None, as_node=COPY, checkpoint=checkpoint)
    return None


async def _merge_metadata(gateway: Gateway, thread_id: str, body: AgentThreadPatch) -> threads_pb2.Thread:
    if body.metadata is None:
        return await load_thread(gateway, thread_id)
    question = threads_pb2.UpdateThreadRequest(
        thread_id=thread_id, metadata_json=encode.dumps(without_reserved(body.metadata))
    )
    with answering(THREAD_NOT_FOUND=not_found(thread_id)):
        return await gateway.clients.ask(gateway.clients.threads.UpdateThread, question)
