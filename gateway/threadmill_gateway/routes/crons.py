"""Crons: runs by schedule, on a thread or each on a new one."""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from starlette.requests import Request
from starlette.responses import Response
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import crons_pb2

from threadmill_gateway import encode
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import answering, refuse
from threadmill_gateway.models import answers
from threadmill_gateway.models.base import JsonObject
from threadmill_gateway.models.crons import CronCount, CronCreate, CronPatch, CronSearch
from threadmill_gateway.pagination import PAGE_HEADERS, page_headers
from threadmill_gateway.requests import path_id, read, read_json
from threadmill_gateway.routes.endpoint import Endpoint
from threadmill_gateway.routes.threads import ORDERS
from threadmill_gateway.run_requests import without_reserved
from threadmill_gateway.webhooks import check_webhook

ON_RUN_COMPLETED = {
    "delete": crons_pb2.ON_RUN_COMPLETED_DELETE,
    "keep": crons_pb2.ON_RUN_COMPLETED_KEEP,
    None: crons_pb2.ON_RUN_COMPLETED_UNSPECIFIED,
}
SORT_BY = {
    "cron_id": crons_pb2.SearchCronsRequest.SORT_BY_CRON_ID,
    "assistant_id": crons_pb2.SearchCronsRequest.SORT_BY_ASSISTANT_ID,
    "thread_id": crons_pb2.SearchCronsRequest.SORT_BY_THREAD_ID,
    "next_run_date": crons_pb2.SearchCronsRequest.SORT_BY_NEXT_RUN_TIME,
    "end_time": crons_pb2.SearchCronsRequest.SORT_BY_END_TIME,
    "created_at": crons_pb2.SearchCronsRequest.SORT_BY_CREATE_TIME,
    "updated_at": crons_pb2.SearchCronsRequest.SORT_BY_UPDATE_TIME,
}


async def create_cron(request: Request, gateway: Gateway) -> Response:
    """A cron whose runs have a new thread each."""
    return await _create(request, gateway, "")


async def create_thread_cron(request: Request, gateway: Gateway) -> Response:
    """A cron whose runs are all on one thread."""
    return await _create(request, gateway, path_id(request, "thread"))


async def _create(request: Request, gateway: Gateway, thread_id: str) -> Response:
    document = await read_json(request, gateway.settings.http_max_request_body_bytes)
    body = CronCreate.model_validate(document)
    await _check_webhook(body.webhook, gateway)
    metadata = without_reserved(body.metadata or {})
    question = crons_pb2.CreateCronRequest(
        cron_id=new_id(),
        thread_id=thread_id,
        assistant_id=body.assistant_id,
        schedule=body.schedule,
        timezone=body.timezone or "",
        end_time=_timestamp(body.end_time),
        payload_json=_payload(document, metadata),
        metadata_json=encode.dumps(metadata),
        on_run_completed=ON_RUN_COMPLETED[body.on_run_completed],
        disabled=not body.enabled,
    )
    no_assistant = (404, f"Assistant '{body.assistant_id}' not found")
    no_thread = (
        404,
        f"Thread with ID '{thread_id}' not found. Check the ID; the thread may have been deleted, or have expired.",
    )
    with answering(ASSISTANT_NOT_FOUND=no_assistant, INVALID_ASSISTANT=no_assistant, THREAD_NOT_FOUND=no_thread):
        row = await gateway.clients.ask(gateway.clients.crons.CreateCron, question)
    return encode.document_response(cron(row))


def _payload(document: JsonObject, metadata: JsonObject) -> bytes:
    """The request as the client sent it, but for the metadata keys that are the server's."""
    return encode.dumps({**document, "metadata": metadata} if "metadata" in document else document)


async def _check_webhook(url: str | None, gateway: Gateway) -> None:
    if url is not None:
        await check_webhook(url, gateway.resolve, gateway.settings.webhook_policy)


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    found = Timestamp()
    found.FromDatetime(moment)
    return found


async def get_cron(request: Request, gateway: Gateway) -> Response:
    """One cron."""
    question = crons_pb2.GetCronRequest(cron_id=path_id(request, "cron"))
    return encode.document_response(cron(await gateway.clients.ask(gateway.clients.crons.GetCron, question)))


async def patch_cron(request: Request, gateway: Gateway) -> Response:
    """Changes what is given. The payload's keys are replaced, the cron's own metadata is merged."""
    cron_id = path_id(request, "cron")
    document = await read_json(request, gateway.settings.http_max_request_body_bytes)
    if document == {}:
        raise refuse(400, "Request body cannot be empty")
    body = CronPatch.model_validate(document)
    await _check_webhook(body.webhook, gateway)
    metadata = without_reserved(body.metadata or {})
    question = crons_pb2.UpdateCronRequest(
        cron_id=cron_id,
        schedule=body.schedule,
        timezone=body.timezone,
        end_time=_timestamp(body.end_time),
        clear_end_time="end_time" in document and body.end_time is None,
        payload_json=_payload(document, metadata),
        metadata_json=encode.dumps(metadata),
        on_run_completed=ON_RUN_COMPLETED[body.on_run_completed],
        enabled=body.enabled,
    )
    with answering(CRON_NOT_FOUND=(404, f"Cron '{cron_id}' not found")):
        row = await gateway.clients.ask(gateway.clients.crons.UpdateCron, question)
    return encode.document_response(cron(row))


async def delete_cron(request: Request, gateway: Gateway) -> Response:
    """Deletes a cron; its runs stay."""
    question = crons_pb2.DeleteCronRequest(cron_id=path_id(request, "cron"))
    await gateway.clients.ask(gateway.clients.crons.DeleteCron, question)
    return encode.no_content()


async def search_crons(request: Request, gateway: Gateway) -> Response:
    """A page of crons."""
    body = await read(request, CronSearch, gateway.settings.http_max_request_body_bytes)
    wanted = _filter(body)
    if body.enabled is not None:
        wanted.enabled = body.enabled
    question = crons_pb2.SearchCronsRequest(
        filter=wanted,
        limit=body.limit,
        offset=body.offset,
        sort_by=SORT_BY[body.sort_by or "created_at"],
        sort_order=ORDERS[body.sort_order or "desc"],
    )
    found = await gateway.clients.ask(gateway.clients.crons.SearchCrons, question)
    names: list[str] = list(body.select)
    rows = [encode.selected(cron(row), names) for row in found.crons]
    return encode.document_response(rows, page_headers(body.offset, len(rows), found.has_more))


def _filter(body: CronCount) -> crons_pb2.CronFilter:
    return crons_pb2.CronFilter(
        assistant_id=body.assistant_id or "",
        thread_id=body.thread_id or "",
        metadata_json=encode.dumps(body.metadata) if body.metadata else b"",
    )


async def count_crons(request: Request, gateway: Gateway) -> Response:
    """How many crons match."""
    body = await read(request, CronCount, gateway.settings.http_max_request_body_bytes)
    question = crons_pb2.CountCronsRequest(filter=_filter(body))
    found = await gateway.clients.ask(gateway.clients.crons.CountCrons, question)
    return encode.document_response(found.count)


def cron(row: crons_pb2.Cron) -> dict[str, Any]:
    """A cron as REST shows it. Ticks are whole seconds, and are shown so."""
    completed = {value: name for name, value in ON_RUN_COMPLETED.items()}
    return {
        "cron_id": row.cron_id,
        "assistant_id": row.assistant_id,
        "thread_id": row.thread_id or None,
        "user_id": row.user_id,
        "end_time": encode.time_of(row.end_time) if row.HasField("end_time") else None,
        "schedule": row.schedule,
        "timezone": row.timezone or None,
        "payload": encode.fragment(row.payload_json),
        "next_run_date": row.next_run_time.ToDatetime(UTC).isoformat() if row.HasField("next_run_time") else None,
        "metadata": encode.fragment(row.metadata_json),
        "on_run_completed": completed[row.on_run_completed],
        "enabled": row.enabled,
        "created_at": encode.time_of(row.create_time),
        "updated_at": encode.time_of(row.update_time),
    }


_CRONS = "/runs/crons"
_ID = _CRONS + "/{cron_id}"
_FOUND = answers.rows_of(answers.Cron)
ENDPOINTS = (
    Endpoint("POST", _CRONS, create_cron, "Create a stateless cron", CronCreate, answers.Cron, errors=(404, 422)),
    Endpoint(
        "POST",
        _CRONS + "/search",
        search_crons,
        "Search crons",
        CronSearch,
        _FOUND,
        errors=(422,),
        headers=PAGE_HEADERS,
    ),
    Endpoint("POST", _CRONS + "/count", count_crons, "Count crons", CronCount, int, errors=(422,)),
    Endpoint("GET", _ID, get_cron, "Read a cron", answer=answers.Cron, errors=(404, 422)),
    Endpoint("PATCH", _ID, patch_cron, "Change a cron", CronPatch, answers.Cron, errors=(400, 404, 422)),
    Endpoint("DELETE", _ID, delete_cron, "Delete a cron", status=204, errors=(404, 422)),
    Endpoint(
        "POST",
        "/threads/{thread_id}" + _CRONS,
        create_thread_cron,
        "Create a cron on a thread",
        CronCreate,
        answers.Cron,
        errors=(404, 422),
    ),
)
