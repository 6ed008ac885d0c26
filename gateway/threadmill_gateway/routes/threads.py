"""Threads: create, read, change, find, copy, prune."""

import asyncio

import grpc
import orjson
from starlette.requests import Request
from starlette.responses import Response
from threadmill_chassis.ids import new_id
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import graphs_pb2, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from threadmill_gateway import encode
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import answering, detail_response, http_of, refuse
from threadmill_gateway.models import answers
from threadmill_gateway.models.threads import ThreadCount, ThreadCreate, ThreadPatch, ThreadPrune, ThreadSearch, Ttl
from threadmill_gateway.pagination import PAGE_HEADERS, page_headers
from threadmill_gateway.requests import canonical_uuid, path_id, query_list, read
from threadmill_gateway.routes.endpoint import Endpoint, Query
from threadmill_gateway.run_requests import without_reserved

STATES = {name: value for value, name in encode.THREAD_STATES.items()}
STRATEGIES = {
    "delete": threads_pb2.TTL_STRATEGY_DELETE,
    "keep_latest": threads_pb2.TTL_STRATEGY_KEEP_LATEST,
}
SORT_BY = {
    "thread_id": threads_pb2.SearchThreadsRequest.SORT_BY_THREAD_ID,
    "status": threads_pb2.SearchThreadsRequest.SORT_BY_STATE,
    "created_at": threads_pb2.SearchThreadsRequest.SORT_BY_CREATE_TIME,
    "updated_at": threads_pb2.SearchThreadsRequest.SORT_BY_UPDATE_TIME,
    "state_updated_at": threads_pb2.SearchThreadsRequest.SORT_BY_STATE_UPDATE_TIME,
}
ORDERS = {"asc": common_pb2.SORT_ORDER_ASCENDING, "desc": common_pb2.SORT_ORDER_DESCENDING}
# Threads whose runs are stopped at once when many threads go.
DELETES_AT_ONCE = 8


def not_found(thread_id: str) -> tuple[int, str]:
    """What most endpoints answer for an unknown thread."""
    return 404, f"Thread with ID {thread_id} not found"


async def create_thread(request: Request, gateway: Gateway) -> Response:
    """A new thread. Without an id of the client's we mint one, so that a retried call finds its own thread."""
    body = await read(request, ThreadCreate, gateway.settings.http_max_request_body_bytes)
    thread_id = body.thread_id or new_id()
    do_nothing = body.thread_id is None or body.if_exists == "do_nothing"
    question = threads_pb2.CreateThreadRequest(
        thread_id=thread_id,
        metadata_json=encode.dumps(without_reserved(body.metadata)),
        if_exists=threads_pb2.IF_EXISTS_DO_NOTHING if do_nothing else threads_pb2.IF_EXISTS_RAISE,
        ttl=_ttl(body.ttl),
    )
    with answering(THREAD_EXISTS=(409, f"Thread with ID {thread_id} already exists")):
        row = await gateway.clients.ask(gateway.clients.threads.CreateThread, question)
    if body.supersteps:
        return await _apply_supersteps(gateway, row, body)
    return encode.document_response(encode.thread(row))


async def _apply_supersteps(gateway: Gateway, row: threads_pb2.Thread, body: ThreadCreate) -> Response:
    """Puts the thread into a state. The thread stays, whatever comes of it."""
    graph_id = orjson.loads(row.metadata_json or b"{}").get("graph_id")
    if not graph_id or not isinstance(graph_id, str):
        return _created_with_problems(row.thread_id, "metadata.graph_id names no graph, so its state could not be set")
    steps = [step.model_dump() for step in body.supersteps or ()]
    question = graphs_pb2.BulkUpdateStateRequest(
        graph=graphs_pb2.GraphRequest(graph_id=graph_id),
        thread_id=row.thread_id,
        supersteps_json=encode.dumps(steps),
    )
    try:
        await gateway.clients.ask(gateway.clients.graphs.BulkUpdateState, question)
    except grpc.aio.AioRpcError as error:
        status, text = http_of(error)
        if status != 404:  # also 409: the thread was there before, and has active runs
            raise
        return _created_with_problems(row.thread_id, text)
    fresh = threads_pb2.GetThreadRequest(thread_id=row.thread_id)
    return encode.document_response(encode.thread(await gateway.clients.ask(gateway.clients.threads.GetThread, fresh)))


def _created_with_problems(thread_id: str, problem: str) -> Response:
    return detail_response(201, f"Thread {thread_id} was created, but there were problems: {problem}")


def _ttl(ttl: Ttl | None) -> threads_pb2.ThreadTtl | None:
    if ttl is None:
        return None
    strategy = STRATEGIES[ttl.strategy] if ttl.strategy else threads_pb2.TTL_STRATEGY_UNSPECIFIED
    return threads_pb2.ThreadTtl(strategy=strategy, ttl_minutes=ttl.ttl)


async def get_thread(request: Request, gateway: Gateway) -> Response:
    """One thread."""
    thread_id = path_id(request, "thread")
    with_ttl = "ttl" in query_list(request, "include")
    row = await load_thread(gateway, thread_id, with_ttl=with_ttl)
    return encode.document_response(encode.thread_with_ttl(row) if with_ttl else encode.thread(row))


async def load_thread(gateway: Gateway, thread_id: str, *, with_ttl: bool = False) -> threads_pb2.Thread:
    """The row of a thread; 404 when there is none."""
    question = threads_pb2.GetThreadRequest(thread_id=thread_id, include_ttl=with_ttl)
    with answering(THREAD_NOT_FOUND=not_found(thread_id)):
        return await gateway.clients.ask(gateway.clients.threads.GetThread, question)


async def patch_thread(request: Request, gateway: Gateway) -> Response:
    """Merges metadata, sets the TTL."""
    thread_id = path_id(request, "thread")
    body = await read(request, ThreadPatch, gateway.settings.http_max_request_body_bytes)
    question = threads_pb2.UpdateThreadRequest(
        thread_id=thread_id,
        metadata_json=b"" if body.metadata is None else encode.dumps(without_reserved(body.metadata)),
        ttl=_ttl(body.ttl),
    )
    with answering(THREAD_NOT_FOUND=(404, "Not Found")):
        row = await gateway.clients.ask(gateway.clients.threads.UpdateThread, question)
    if "return=minimal" in request.headers.get("prefer", ""):
        return encode.no_content()
    return encode.document_response(encode.thread(row))


async def delete_thread(request: Request, gateway: Gateway) -> Response:
    """Stops and deletes the thread's runs, then the thread."""
    thread_id = path_id(request, "thread")
    with answering(THREAD_NOT_FOUND=not_found(thread_id)):
        await drop_thread(gateway, thread_id)
    return encode.no_content()


async def drop_thread(gateway: Gateway, thread_id: str) -> None:
    """Deletes a thread with its runs, and those that were being created meanwhile. Raises the services' errors."""
    clients = gateway.clients
    runs = runs_pb2.DeleteThreadRunsRequest(thread_id=thread_id)
    await clients.ask(clients.runs.DeleteThreadRuns, runs)
    await clients.ask(clients.threads.DeleteThread, threads_pb2.DeleteThreadRequest(thread_id=thread_id))
    await clients.ask(clients.runs.DeleteThreadRuns, runs)


async def search_threads(request: Request, gateway: Gateway) -> Response:
    """A page of threads."""
    body = await read(request, ThreadSearch, gateway.settings.http_max_request_body_bytes)
    question = threads_pb2.SearchThreadsRequest(
        filter=_filter(body, [_searched_id(text) for text in body.ids]),
        limit=body.limit,
        offset=body.offset,
        sort_by=SORT_BY[body.sort_by] if body.sort_by else threads_pb2.SearchThreadsRequest.SORT_BY_UNSPECIFIED,
        sort_order=ORDERS[body.sort_order] if body.sort_by and body.sort_order else ORDERS["desc"],
        select=body.select,
        extract=body.extract,
    )
    found = await gateway.clients.ask(gateway.clients.threads.SearchThreads, question)
    names: list[str] = list(body.select)
    rows = [encode.selected(encode.thread(row), names, ("extracted",)) for row in found.threads]
    return encode.document_response(rows, page_headers(body.offset, len(rows), found.has_more))


def _searched_id(text: str) -> str:
    found = canonical_uuid(text)
    if found is None:
        raise refuse(400, f"Invalid thread ID {text}")
    return found


def _filter(body: ThreadCount, ids: list[str]) -> threads_pb2.ThreadFilter:
    return threads_pb2.ThreadFilter(
        thread_ids=ids,
        metadata_json=encode.dumps(body.metadata) if body.metadata else b"",
        values_json=encode.dumps(body.values) if body.values else b"",
        state=STATES[body.status] if body.status else threads_pb2.THREAD_STATE_UNSPECIFIED,
    )


async def count_threads(request: Request, gateway: Gateway) -> Response:
    """How many threads match."""
    body = await read(request, ThreadCount, gateway.settings.http_max_request_body_bytes)
    question = threads_pb2.CountThreadsRequest(filter=_filter(body, []))
    found = await gateway.clients.ask(gateway.clients.threads.CountThreads, question)
    return encode.document_response(found.count)


async def copy_thread(request: Request, gateway: Gateway) -> Response:
    """A copy with the whole history."""
    thread_id = path_id(request, "thread", status=400)
    with answering(THREAD_NOT_FOUND=(409, "Conflict")):
        row = await gateway.clients.ask(
            gateway.clients.threads.CopyThread, threads_pb2.CopyThreadRequest(thread_id=thread_id)
        )
    copy = encode.thread(row)
    if not row.values_json:  # the copy has a state, which nobody has read yet: not `null`
        del copy["values"]
    return encode.document_response(copy)


async def prune_threads(request: Request, gateway: Gateway) -> Response:
    """Deletes threads (their runs first), or the history of threads."""
    body = await read(request, ThreadPrune, gateway.settings.http_max_request_body_bytes)
    if body.strategy == "delete":
        await _delete_runs(gateway, body.thread_ids)
    question = threads_pb2.PruneThreadsRequest(thread_ids=body.thread_ids, strategy=STRATEGIES[body.strategy])
    found = await gateway.clients.ask(gateway.clients.threads.PruneThreads, question)
    if body.strategy == "delete":  # as drop_thread
        await _delete_runs(gateway, body.thread_ids)
    return encode.document_response({"pruned_count": found.pruned_count})


async def _delete_runs(gateway: Gateway, thread_ids: list[str]) -> None:
    free = asyncio.Semaphore(DELETES_AT_ONCE)

    async def delete(thread_id: str) -> None:
        async with free:
            question = runs_pb2.DeleteThreadRunsRequest(thread_id=thread_id)
            await gateway.clients.ask(gateway.clients.runs.DeleteThreadRuns, question)

    await asyncio.gather(*map(delete, thread_ids))


async def thread_storage(request: Request, gateway: Gateway) -> Response:
    """What the thread's checkpoints occupy."""
    thread_id = path_id(request, "thread")
    question = threads_pb2.GetThreadStorageRequest(thread_id=thread_id)
    with answering(THREAD_NOT_FOUND=not_found(thread_id)):
        found = await gateway.clients.ask(gateway.clients.threads.GetThreadStorage, question)
    return encode.document_response(encode.storage(thread_id, found))


_ID = "/threads/{thread_id}"
ENDPOINTS = (
    Endpoint(
        "POST",
        "/threads",
        create_thread,
        "Create a thread",
        ThreadCreate,
        answers.Thread,
        errors=(400, 404, 409, 422),
        also=((201, answers.Error),),
    ),
    Endpoint(
        "POST",
        "/threads/search",
        search_threads,
        "Search threads",
        ThreadSearch,
        answers.rows_of(answers.Thread),
        errors=(400, 422),
        headers=PAGE_HEADERS,
    ),
    Endpoint("POST", "/threads/count", count_threads, "Count threads", ThreadCount, int, errors=(422,)),
    Endpoint("POST", "/threads/prune", prune_threads, "Prune threads", ThreadPrune, answers.Pruned, errors=(422,)),
    Endpoint(
        "GET",
        _ID,
        get_thread,
        "Read a thread",
        answer=answers.Thread,
        errors=(404, 422),
        query=(Query("include", "`ttl` adds the time to live"),),
    ),
    Endpoint(
        "PATCH",
        _ID,
        patch_thread,
        "Change a thread",
        ThreadPatch,
        answers.Thread,
        errors=(404, 409, 422),
        also=((204, None),),
    ),
    Endpoint("DELETE", _ID, delete_thread, "Delete a thread", status=204, errors=(404, 422)),
    Endpoint("POST", _ID + "/copy", copy_thread, "Copy a thread", answer=answers.ThreadCopy, errors=(400, 409)),
    Endpoint(
        "GET",
        _ID + "/storage",
        thread_storage,
        "Storage that a thread occupies",
        answer=answers.Storage,
        errors=(404, 422),
    ),
)
