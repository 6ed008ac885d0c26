"""Assistants, their versions, and what their graphs look like."""

import grpc
from starlette.requests import Request
from starlette.responses import Response
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import assistants_pb2, graphs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from threadmill_gateway import encode
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import answering, refuse
from threadmill_gateway.models import answers
from threadmill_gateway.models.assistants import (
    AssistantCount,
    AssistantCreate,
    AssistantPatch,
    AssistantSearch,
    LatestVersion,
    VersionSearch,
)
from threadmill_gateway.models.base import JsonObject
from threadmill_gateway.pagination import PAGE_HEADERS, page_headers
from threadmill_gateway.requests import INT32_MAX, path_id, query_flag, read
from threadmill_gateway.routes.endpoint import Endpoint, Query
from threadmill_gateway.routes.threads import ORDERS, drop_thread
from threadmill_gateway.run_requests import refuse_both_configs, without_reserved

SORT_BY = {
    "assistant_id": assistants_pb2.SearchAssistantsRequest.SORT_BY_ASSISTANT_ID,
    "created_at": assistants_pb2.SearchAssistantsRequest.SORT_BY_CREATE_TIME,
    "updated_at": assistants_pb2.SearchAssistantsRequest.SORT_BY_UPDATE_TIME,
    "name": assistants_pb2.SearchAssistantsRequest.SORT_BY_NAME,
    "graph_id": assistants_pb2.SearchAssistantsRequest.SORT_BY_GRAPH_ID,
}
# Threads that are looked up at once when an assistant goes with its threads.
THREADS_PAGE = 100


async def create_assistant(request: Request, gateway: Gateway) -> Response:
    """A new assistant at version 1."""
    body = await read(request, AssistantCreate, gateway.settings.http_max_request_body_bytes)
    _check_configs(body.config, body.context)
    question = assistants_pb2.CreateAssistantRequest(
        assistant_id=body.assistant_id or "",
        graph_id=body.graph_id,
        config_json=encode.dumps(body.config),
        context_json=encode.dumps(body.context),
        metadata_json=encode.dumps(without_reserved(body.metadata)),
        name=body.name,
        description=body.description,
        do_nothing_if_exists=body.if_exists == "do_nothing",
    )
    with answering(ASSISTANT_EXISTS=(409, f"Assistant {body.assistant_id} already exists")):
        row = await gateway.clients.ask(gateway.clients.assistants.CreateAssistant, question)
    return encode.document_response(encode.assistant(row))


def _check_configs(config: JsonObject | None, context: JsonObject | None) -> None:
    if context and config and config.get("configurable"):
        refuse_both_configs()


async def get_assistant(request: Request, gateway: Gateway) -> Response:
    """One assistant."""
    row = await _load(gateway, path_id(request, "assistant"))
    return encode.document_response(encode.assistant(row))


async def _load(gateway: Gateway, assistant_id: str, *, allow_graph_id: bool = False) -> assistants_pb2.Assistant:
    question = assistants_pb2.GetAssistantRequest(assistant_id=assistant_id, allow_graph_id=allow_graph_id)
    invalid = (422, "Invalid assistant ID: must be a UUID")
    with answering(ASSISTANT_NOT_FOUND=(404, "Not Found"), INVALID_ASSISTANT=invalid):
        return await gateway.clients.ask(gateway.clients.assistants.GetAssistant, question)


async def patch_assistant(request: Request, gateway: Gateway) -> Response:
    """Adds a version."""
    assistant_id = path_id(request, "assistant")
    body = await read(request, AssistantPatch, gateway.settings.http_max_request_body_bytes)
    _check_configs(body.config, body.context)
    question = assistants_pb2.UpdateAssistantRequest(
        assistant_id=assistant_id,
        graph_id=body.graph_id,
        config_json=_given(body.config),
        context_json=_given(body.context),
        metadata_json=_given(body.metadata and without_reserved(body.metadata)),
        name=body.name,
        description=body.description,
        clear_description="description" in body.model_fields_set and body.description is None,
    )
    with answering(ASSISTANT_NOT_FOUND=(404, f"Assistant {assistant_id} not found")):
        row = await gateway.clients.ask(gateway.clients.assistants.UpdateAssistant, question)
    return encode.document_response(encode.assistant(row))


def _given(value: JsonObject | None) -> bytes:
    return b"" if value is None else encode.dumps(value)


async def delete_assistant(request: Request, gateway: Gateway) -> Response:
    """Deletes an assistant. Its threads, if they are to go too, go first: a call that broke off can be repeated."""
    assistant_id = path_id(request, "assistant")
    with answering(ASSISTANT_NOT_FOUND=(404, f"Assistant with ID {assistant_id} not found")):
        if query_flag(request, "delete_threads"):
            await gateway.clients.ask(
                gateway.clients.assistants.GetAssistant, assistants_pb2.GetAssistantRequest(assistant_id=assistant_id)
            )
            await _delete_threads(gateway, assistant_id)
        await gateway.clients.ask(
            gateway.clients.assistants.DeleteAssistant, assistants_pb2.DeleteAssistantRequest(assistant_id=assistant_id)
        )
    return encode.no_content()


async def _delete_threads(gateway: Gateway, assistant_id: str) -> None:
    question = threads_pb2.SearchThreadsRequest(
        filter=threads_pb2.ThreadFilter(metadata_json=encode.dumps({"assistant_id": assistant_id})),
        limit=THREADS_PAGE,
        select=["thread_id"],
    )
    while rows := (await gateway.clients.ask(gateway.clients.threads.SearchThreads, question)).threads:
        for row in rows:
            try:
                await drop_thread(gateway, row.thread_id)
            except grpc.aio.AioRpcError as error:
                if reason_of(error) != "THREAD_NOT_FOUND":  # somebody else was faster
                    raise


async def search_assistants(request: Request, gateway: Gateway) -> Response:
    """A page of assistants."""
    body = await read(request, AssistantSearch, gateway.settings.http_max_request_body_bytes)
    unsorted = assistants_pb2.SearchAssistantsRequest.SORT_BY_UNSPECIFIED
    question = assistants_pb2.SearchAssistantsRequest(
        filter=_filter(body),
        limit=body.limit,
        offset=body.offset,
        sort_by=SORT_BY[body.sort_by] if body.sort_by else unsorted,
        sort_order=ORDERS[body.sort_order] if body.sort_by and body.sort_order else ORDERS["desc"],
    )
    found = await gateway.clients.ask(gateway.clients.assistants.SearchAssistants, question)
    if body.graph_id and not found.assistants:  # a count tells an unknown graph from one without assistants
        await _count(gateway, body)
    names: list[str] = list(body.select)
    rows = [encode.selected(encode.assistant(row), names) for row in found.assistants]
    return encode.document_response(rows, page_headers(body.offset, len(rows), found.has_more))


def _filter(body: AssistantCount) -> assistants_pb2.AssistantFilter:
    return assistants_pb2.AssistantFilter(
        metadata_json=encode.dumps(body.metadata) if body.metadata else b"",
        graph_id=body.graph_id or "",
        name=body.name or "",
    )


async def count_assistants(request: Request, gateway: Gateway) -> Response:
    """How many assistants match."""
    body = await read(request, AssistantCount, gateway.settings.http_max_request_body_bytes)
    return encode.document_response(await _count(gateway, body))


async def _count(gateway: Gateway, body: AssistantCount) -> int:
    question = assistants_pb2.CountAssistantsRequest(filter=_filter(body))
    return (await gateway.clients.ask(gateway.clients.assistants.CountAssistants, question)).count


async def list_versions(request: Request, gateway: Gateway) -> Response:
    """Versions, newest first."""
    assistant_id = path_id(request, "assistant")
    body = await read(request, VersionSearch, gateway.settings.http_max_request_body_bytes)
    question = assistants_pb2.ListAssistantVersionsRequest(
        assistant_id=assistant_id,
        metadata_json=encode.dumps(body.metadata) if body.metadata else b"",
        limit=body.limit,
        offset=body.offset,
    )
    with answering(ASSISTANT_NOT_FOUND=(404, f"Assistant {assistant_id} not found")):
        found = await gateway.clients.ask(gateway.clients.assistants.ListAssistantVersions, question)
    return encode.document_response([encode.assistant_version(row) for row in found.versions])


async def set_latest(request: Request, gateway: Gateway) -> Response:
    """Makes an old version current."""
    assistant_id = path_id(request, "assistant")
    body = await read(request, LatestVersion, gateway.settings.http_max_request_body_bytes)
    no_version = (404, f"Version {body.version} not found for assistant {assistant_id}")
    if body.version is None:
        raise refuse(*no_version)
    question = assistants_pb2.SetLatestVersionRequest(assistant_id=assistant_id, version=body.version)
    with answering(ASSISTANT_NOT_FOUND=(404, f"Assistant {assistant_id} not found"), VERSION_NOT_FOUND=no_version):
        row = await gateway.clients.ask(gateway.clients.assistants.SetLatestVersion, question)
    return encode.document_response(encode.assistant(row))


async def draw_graph(request: Request, gateway: Gateway) -> Response:
    """The drawing of an assistant's graph; the assistant may be named by its graph."""
    depth = _xray_depth(request.query_params.get("xray"))
    row = await _load(gateway, request.path_params["assistant_id"], allow_graph_id=True)
    question = graphs_pb2.DrawGraphRequest(graph=graph_of(row), xray_depth=depth)
    found = await gateway.clients.ask(gateway.clients.graphs.DrawGraph, question)
    return encode.json_response(found.json)


def _xray_depth(text: str | None) -> int:
    if text is None or text.lower() == "false":
        return 0
    if text.lower() == "true":
        return -1
    if text.isdecimal() and 1 <= int(text) <= INT32_MAX:
        return int(text)
    raise refuse(422, "Invalid xray value")


def graph_of(row: assistants_pb2.Assistant) -> graphs_pb2.GraphRequest:
    """How the executor is asked about an assistant's graph."""
    return graphs_pb2.GraphRequest(graph_id=row.graph_id, config_json=row.config_json)


async def get_schemas(request: Request, gateway: Gateway) -> Response:
    """JSON schemas of an assistant's graph."""
    row = await _load(gateway, path_id(request, "assistant"))
    found = await gateway.clients.ask(gateway.clients.graphs.GetGraphSchemas, graph_of(row))
    return encode.json_response(found.json)


async def list_subgraphs(request: Request, gateway: Gateway) -> Response:
    """Schemas of subgraphs, all or of one namespace."""
    row = await _load(gateway, path_id(request, "assistant"))
    question = graphs_pb2.ListSubgraphsRequest(
        graph=graph_of(row),
        namespace=request.path_params.get("namespace", ""),
        recurse=query_flag(request, "recurse"),
    )
    found = await gateway.clients.ask(gateway.clients.graphs.ListSubgraphs, question)
    return encode.json_response(found.json)


_ID = "/assistants/{assistant_id}"
_RECURSE = Query("recurse", "Also subgraphs of subgraphs", {"type": "boolean", "default": False})
_SEARCHED = answers.rows_of(answers.Assistant)
# 400: a factory that raises.
_GRAPH_ERRORS = (400, 404, 422)
ENDPOINTS = (
    Endpoint(
        "POST",
        "/assistants",
        create_assistant,
        "Create an assistant",
        AssistantCreate,
        answers.Assistant,
        errors=(400, 404, 409, 422),
    ),
    Endpoint(
        "POST",
        "/assistants/search",
        search_assistants,
        "Search assistants",
        AssistantSearch,
        _SEARCHED,
        errors=(404, 422),
        headers=PAGE_HEADERS,
    ),
    Endpoint("POST", "/assistants/count", count_assistants, "Count assistants", AssistantCount, int, errors=(404, 422)),
    Endpoint("GET", _ID, get_assistant, "Read an assistant", answer=answers.Assistant, errors=(404, 422)),
    Endpoint(
        "PATCH", _ID, patch_assistant, "Change an assistant", AssistantPatch, answers.Assistant, errors=(400, 404, 422)
    ),
    Endpoint(
        "DELETE",
        _ID,
        delete_assistant,
        "Delete an assistant",
        status=204,
        errors=(404, 422),
        query=(Query("delete_threads", "Delete its threads too", {"type": "boolean", "default": False}),),
    ),
    Endpoint(
        "POST",
        _ID + "/versions",
        list_versions,
        "List versions of an assistant",
        VersionSearch,
        list[answers.AssistantVersion],
        errors=(404, 422),
    ),
    Endpoint(
        "POST",
        _ID + "/latest",
        set_latest,
        "Make a version current",
        LatestVersion,
        answers.Assistant,
        errors=(404, 422),
    ),
    Endpoint(
        "GET",
        _ID + "/graph",
        draw_graph,
        "Draw the graph of an assistant",
        answer=answers.Drawing,
        errors=_GRAPH_ERRORS,
        query=(Query("xray", "Draw subgraphs: `true`, or levels >= 1"),),
    ),
    Endpoint(
        "GET",
        _ID + "/schemas",
        get_schemas,
        "Schemas of an assistant's graph",
        answer=answers.Schemas,
        errors=_GRAPH_ERRORS,
    ),
    Endpoint(
        "GET",
        _ID + "/subgraphs",
        list_subgraphs,
        "Schemas of subgraphs",
        answer=dict[str, answers.SubgraphSchemas],
        errors=_GRAPH_ERRORS,
        query=(_RECURSE,),
    ),
    Endpoint(
        "GET",
        _ID + "/subgraphs/{namespace}",
        list_subgraphs,
        "Schemas of one subgraph",
        answer=dict[str, answers.SubgraphSchemas],
        errors=_GRAPH_ERRORS,
        query=(_RECURSE,),
    ),
)
