"""Health, info and metrics of the process."""

import asyncio
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import grpc
import structlog
from starlette.requests import Request
from starlette.responses import Response
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.store.v1 import store_pb2
from threadmill_protos.threads.v1 import threads_pb2

from threadmill_gateway import encode, metrics
from threadmill_gateway.context import Gateway
from threadmill_gateway.models import answers
from threadmill_gateway.requests import query_integer
from threadmill_gateway.routes.endpoint import Endpoint, Query

log = structlog.get_logger(__name__)

# The id of no thread.
NOBODY = "00000000-0000-0000-0000-000000000000"
# What clients may rely on.
FLAGS = {
    "assistants": True,
    "crons": True,
    "langsmith": False,
    "langsmith_tracing_replicas": True,
    "langsmith_tracing_session_on_runs": True,
}


# Probes and scrapers wait no longer than a few seconds.
PROBE_SECONDS = 3.0


async def ok(request: Request, gateway: Gateway) -> Response:
    """The process serves. With `check_db=1`: so do the services and their databases; 503 names those that do not.

    Use it to watch a deployment, not to restart gateways: they recover by themselves.
    """
    if not query_integer(request, "check_db", 0):
        return encode.document_response({"ok": True, "services": {}})
    names = ("threads", "store", "runs")
    found = await asyncio.gather(_reads_threads(gateway), _reads_items(gateway), _reads_runs(gateway))
    away = {name: "unavailable" for name, serves in zip(names, found, strict=True) if not serves}
    return encode.document_response({"ok": not away, "services": away}, status=503 if away else 200)


async def _reads_threads(gateway: Gateway) -> bool:
    return await _answers(gateway, gateway.clients.threads.GetThread, threads_pb2.GetThreadRequest(thread_id=NOBODY))


async def _reads_items(gateway: Gateway) -> bool:
    nothing = store_pb2.Op(get=store_pb2.GetOp(namespace=["threadmill"], key="probe", refresh_ttl=False))
    return await _answers(gateway, gateway.clients.store.Batch, store_pb2.BatchRequest(ops=[nothing]))


async def _reads_runs(gateway: Gateway) -> bool:
    return await _answers(gateway, gateway.clients.runs.GetQueueStats, runs_pb2.GetQueueStatsRequest())


async def _answers(gateway: Gateway, method: Any, question: Any) -> bool:
    """Whether a service reads from its database: that what was asked for does not exist is an answer too."""
    try:
        await gateway.clients.ask(method, question, timeout_seconds=PROBE_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.NOT_FOUND
    return True


@cache
def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


async def info(_: Request, __: Gateway) -> Response:
    """Versions and abilities. The gateway needs no LangGraph: its version shows where both are installed."""
    return encode.document_response(
        {
            "version": _version_of("threadmill-gateway"),
            "langgraph_py_version": _version_of("langgraph"),
            "flags": FLAGS,
            "host": {
                "kind": "self-hosted",
                "project_id": None,
                "host_revision_id": None,
                "revision_id": None,
                "tenant_id": None,
            },
        }
    )


async def get_metrics(request: Request, gateway: Gateway) -> Response:
    """Prometheus text, or JSON with `format=json`."""
    question = runs_pb2.GetQueueStatsRequest()
    if request.query_params.get("format") == "json":
        stats = await gateway.clients.ask(gateway.clients.runs.GetQueueStats, question)
        return encode.document_response(_metrics_document(stats, gateway))
    known = None
    try:
        known = await gateway.clients.ask(gateway.clients.runs.GetQueueStats, question, timeout_seconds=PROBE_SECONDS)
    except grpc.aio.AioRpcError as error:
        log.warning("queue_stats_unavailable", error=error.details())
    return Response(gateway.metrics.text(known), headers={"content-type": metrics.CONTENT_TYPE})


def _metrics_document(stats: runs_pb2.QueueStats, gateway: Gateway) -> encode.Document:
    return {
        "queue": {
            "n_pending": stats.pending_count,
            "n_running": stats.running_count,
            "pending_runs_wait_time_max_secs": stats.pending_wait_max_seconds,
            "pending_runs_wait_time_med_secs": stats.pending_wait_median_seconds,
            "pending_unblocked_runs_wait_time_max_secs": stats.unblocked_wait_max_seconds,
        },
        "api": {"http_requests_total": gateway.metrics.requests()},
        "workers": {
            "max": stats.worker_max_count,
            "active": stats.worker_active_count,
            "available": stats.worker_max_count - stats.worker_active_count,
        },
    }


_CHECK = Query("check_db", "Not 0: ask the services and their databases too", {"type": "integer", "default": 0})
_OK = Endpoint(
    "GET", "/ok", ok, "Health", answer=answers.Health, errors=(400,), query=(_CHECK,), also=((503, answers.Health),)
)
ENDPOINTS = (
    _OK,
    replace(_OK, path="/"),
    Endpoint("GET", "/info", info, "Versions and abilities", answer=answers.Info, calls=False),
    Endpoint(
        "GET",
        "/metrics",
        get_metrics,
        "Metrics",
        answer=str,
        query=(Query("format", "`json`, else Prometheus text"),),
        media_type="text/plain",
        formats=(("application/json", answers.Metrics),),
    ),
)
