"""The protocol's endpoints, and how those that both APIs have serve both."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from threadmill_gateway.agent_protocol import agents, runs, threads
from threadmill_gateway.agent_protocol.dialect import by_dialect, is_agent_patch, is_agent_run
from threadmill_gateway.agent_protocol.errors import refusal, with_problems
from threadmill_gateway.agent_protocol.models import (
    Agent,
    AgentProblem,
    AgentRun,
    AgentRunCreate,
    AgentRunResult,
    AgentRunSearch,
    AgentRunStream,
    AgentSchemas,
    AgentSearch,
    AgentThread,
    AgentThreadPatch,
)
from threadmill_gateway.models.answers import Error, StreamEvent
from threadmill_gateway.models.protocol import EventStreamRequest, ProtocolEvent
from threadmill_gateway.routes.endpoint import Endpoint, Handler, Query
from threadmill_gateway.routes.streams import FOLLOWED, MODES
from threadmill_gateway.thread_protocol.routes import stream_events

_RUN = "/runs/{run_id}"
_AGENT = "/agents/{agent_id}"
_OWN = (
    Endpoint("POST", "/agents/search", agents.search_agents, "Search agents", AgentSearch, list[Agent], errors=(422,)),
    Endpoint("GET", _AGENT, agents.get_agent, "Read an agent", answer=Agent, errors=(404,)),
    Endpoint(
        "GET",
        _AGENT + "/schemas",
        agents.get_agent_schemas,
        "Schemas of an agent",
        answer=AgentSchemas,
        errors=(404, 422),
    ),
    Endpoint(
        "POST", "/runs/search", runs.search_runs, "Search runs", AgentRunSearch, list[AgentRun], errors=(404, 422)
    ),
    Endpoint("GET", _RUN, runs.get_run, "Read a run", answer=AgentRun, errors=(404, 422)),
    Endpoint("DELETE", _RUN, runs.delete_run, "Delete a run", status=204, errors=(404, 422)),
    Endpoint(
        "GET",
        _RUN + "/wait",
        runs.wait_run,
        "Wait for a run",
        answer=AgentRunResult,
        errors=(404, 422, 502),
        headers=FOLLOWED,
    ),
    Endpoint(
        "GET",
        _RUN + "/stream",
        runs.follow_run,
        "Follow a run",
        answer=StreamEvent,
        errors=(404, 422, 502),
        query=(MODES,),
        headers=FOLLOWED,
        media_type="text/event-stream",
    ),
    Endpoint(
        "POST",
        "/threads/{thread_id}/stream",
        stream_events,
        "Stream the events of a thread",
        EventStreamRequest,
        ProtocolEvent,
        errors=(422,),
        media_type="text/event-stream",
    ),
    Endpoint(
        "POST",
        _RUN + "/cancel",
        runs.cancel_run,
        "Cancel a run",
        status=204,
        errors=(404, 422, 502),
        query=(
            Query("wait", "Answer once the run has ended", {"type": "boolean", "default": False}),
            Query("action", "How", {"type": "string", "enum": ["interrupt", "rollback"], "default": "interrupt"}),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class _Shared:
    """The protocol's side of an endpoint that both APIs have."""

    handler: Handler
    is_protocol: Callable[[Any], bool]
    body: Any
    answer: Any


_SHARED = {
    ("POST", "/runs"): _Shared(runs.create_run, is_agent_run, AgentRunStream, AgentRun),
    ("POST", "/runs/wait"): _Shared(runs.create_and_wait, is_agent_run, AgentRunCreate, AgentRunResult),
    ("POST", "/runs/stream"): _Shared(runs.create_and_stream, is_agent_run, AgentRunStream, StreamEvent),
    ("PATCH", "/threads/{thread_id}"): _Shared(threads.patch_thread, is_agent_patch, AgentThreadPatch, AgentThread),
}


def with_agent_protocol(endpoints: Iterable[Endpoint]) -> Iterator[Endpoint]:
    """The endpoints of the LangGraph API, made to understand both where they are shared, then the protocol's own."""
    for endpoint in endpoints:
        shared = _SHARED.get((endpoint.method, endpoint.path))
        yield endpoint if shared is None else _both(endpoint, shared)
    for endpoint in _OWN:
        yield replace(endpoint, handler=with_problems(endpoint.handler), problem=AgentProblem, refusal=refusal)


def _both(endpoint: Endpoint, shared: _Shared) -> Endpoint:
    return replace(
        endpoint,
        handler=by_dialect(endpoint.handler, with_problems(shared.handler), shared.is_protocol),
        body=endpoint.body | shared.body,
        answer=endpoint.answer if endpoint.answer in (Any, shared.answer) else endpoint.answer | shared.answer,
        problem=Error | AgentProblem,
        # By the protocol, a run created here may be on a thread, which may be busy.
        errors=(*endpoint.errors, 409),
    )
