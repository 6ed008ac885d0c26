"""Health, info and metrics of the process."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

import grpc
import structlog
from starlette.requests import Request
from starlette.responses import Response
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway import encode, metrics
from threadmill_gateway.context import Gateway
from threadmill_gateway.models import answers
from threadmill_gateway.routes.endpoint import Endpoint, Query

log = structlog.get_logger(__name__)

# What clients may rely on.
FLAGS = {
    "assistants": True,
    "crons": True,
    "langsmith": False,
    "langsmith_tracing_replicas": True,
    "langsmith_tracing_session_on_runs": True,
}


async def ok(_: Request, __: Gateway) -> Response:
    """The process serves."""
    return encode.document_response({"ok": True, "services": {}})


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
        known = await gateway.clients.ask(gateway.clients.runs.GetQueueStats, question)
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


_CHECK = Query("check_db", "Accepted for compatibility")
ENDPOINTS = (
    Endpoint("GET", "/ok", ok, "Health", answer=answers.Health, query=(_CHECK,)),
    Endpoint("GET", "/", ok, "Health", answer=answers.Health),
    Endpoint("GET", "/info", info, "Versions and abilities", answer=answers.Info),
    Endpoint(
        "GET",
        "/metrics",
        get_metrics,
        "Metrics",
        answer=str,
        errors=(503,),
        query=(Query("format", "`json`, else Prometheus text"),),
        media_type="text/plain",
    ),
)
