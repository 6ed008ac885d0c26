"""Agents: assistants, by the protocol's name. A graph's name is an agent id too."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import grpc
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import assistants_pb2

from threadmill_gateway import encode
from threadmill_gateway.agent_protocol import documents
from threadmill_gateway.agent_protocol.models import AgentSearch
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import answering, refuse
from threadmill_gateway.requests import read
from threadmill_gateway.routes.assistants import graph_of

Key = TypeVar("Key")
NO_AGENT = (404, "Agent not found.")
# A path of its own, and no agent's id unless a graph has that name.
SEARCH = "search"
# Graphs whose schemas are asked for at once.
GRAPHS_AT_ONCE = 8


async def search_agents(request: Request, gateway: Gateway) -> Response:
    """A page of agents, newest first."""
    body = await read(request, AgentSearch, gateway.settings.http_max_request_body_bytes)
    question = assistants_pb2.SearchAssistantsRequest(
        filter=assistants_pb2.AssistantFilter(
            name=body.name or "", metadata_json=encode.dumps(body.metadata) if body.metadata else b""
        ),
        limit=body.limit,
        offset=body.offset,
        sort_order=common_pb2.SORT_ORDER_DESCENDING,
    )
    rows = (await gateway.clients.ask(gateway.clients.assistants.SearchAssistants, question)).assistants
    return encode.document_response(await _documents(gateway, list(rows)))


async def _documents(gateway: Gateway, rows: list[assistants_pb2.Assistant]) -> list[encode.Document]:
    """The agents. What a graph takes is asked once for each graph, and for each config where a factory makes it."""
    by_graph = {row.graph_id: row for row in rows}
    graphs = await _intakes(gateway, by_graph)
    by_config = {
        _made(row): row
        for row in rows
        if not graphs[row.graph_id].any_config and _made(row) != _made(by_graph[row.graph_id])
    }
    configs = await _intakes(gateway, by_config)
    return [documents.agent(row, takes_messages=configs.get(_made(row), graphs[row.graph_id]).messages) for row in rows]


def _made(row: assistants_pb2.Assistant) -> tuple[str, bytes]:
    """All that a factory's graph can depend on."""
    return row.graph_id, row.config_json


@dataclass(frozen=True, slots=True)
class _Intake:
    """Whether a graph's input has `messages`, and whether that holds for every config."""

    messages: bool
    any_config: bool


async def _intakes(gateway: Gateway, rows: Mapping[Key, assistants_pb2.Assistant]) -> dict[Key, _Intake]:
    """What the graphs of these assistants take."""
    free = asyncio.Semaphore(GRAPHS_AT_ONCE)

    async def ask(row: assistants_pb2.Assistant) -> _Intake:
        async with free:
            return await _intake(gateway, row)

    return dict(zip(rows, await asyncio.gather(*map(ask, rows.values())), strict=True))


async def _intake(gateway: Gateway, row: assistants_pb2.Assistant) -> _Intake:
    """What the graph of an assistant takes. One that cannot be looked at claims nothing."""
    try:
        found = await gateway.clients.ask(gateway.clients.graphs.GetGraphSchemas, graph_of(row))
    except grpc.aio.AioRpcError:
        return _Intake(messages=False, any_config=False)
    schemas = orjson.loads(found.json)
    schema = schemas.get("input_schema") or schemas.get("state_schema") or {}
    return _Intake(messages="messages" in (schema.get("properties") or {}), any_config=found.any_config)


async def get_agent(request: Request, gateway: Gateway) -> Response:
    """One agent."""
    agent_id = request.path_params["agent_id"]
    try:
        row = await load_agent(gateway, agent_id)
    except HTTPException as error:
        if agent_id != SEARCH or error.status_code != NO_AGENT[0]:
            raise
        raise HTTPException(405, "Method Not Allowed", headers={"allow": "POST"}) from error
    return encode.document_response((await _documents(gateway, [row]))[0])


async def load_agent(gateway: Gateway, agent_id: str) -> assistants_pb2.Assistant:
    """The assistant of that id, or of the graph of that name; 404."""
    question = assistants_pb2.GetAssistantRequest(assistant_id=agent_id, allow_graph_id=True)
    with answering(ASSISTANT_NOT_FOUND=NO_AGENT, INVALID_ASSISTANT=NO_AGENT):
        return await gateway.clients.ask(gateway.clients.assistants.GetAssistant, question)


async def get_agent_schemas(request: Request, gateway: Gateway) -> Response:
    """JSON schemas of an agent."""
    row = await load_agent(gateway, request.path_params["agent_id"])
    found = await gateway.clients.ask(gateway.clients.graphs.GetGraphSchemas, graph_of(row))
    return encode.document_response(documents.schemas(row.assistant_id, orjson.loads(found.json)))


async def default_agent(gateway: Gateway) -> str:
    """The agent of runs that name none: the first declared graph that could be imported."""
    found = await gateway.clients.ask(gateway.clients.assistants.ListGraphs, assistants_pb2.ListGraphsRequest())
    for graph in found.graphs:
        if not graph.error:
            return graph.graph_id
    raise refuse(*NO_AGENT)
