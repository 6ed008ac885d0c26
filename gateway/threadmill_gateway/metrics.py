"""Counts and latencies of HTTP requests by route, and the metrics document."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from threadmill_protos.runs.v1.runs_pb2 import QueueStats

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
_LABELS = ("method", "path", "status")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class HttpMetrics:
    """Metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._total = Counter("lg_api_http_requests_total", "HTTP requests by route.", _LABELS, registry=self._registry)
        self._latency = Histogram(
            "lg_api_http_requests_latency",
            "Seconds from request to the end of the response, by route.",
            _LABELS,
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def observe(self, method: str, path: str, status: int, seconds: float) -> None:
        """Counts one finished request; `path` is the route's template."""
        labels = (method, path, str(status))
        self._total.labels(*labels).inc()
        self._latency.labels(*labels).observe(seconds)

    def text(self, stats: QueueStats | None) -> bytes:
        """Prometheus text; without queue figures when the runs api does not answer."""
        return generate_latest(self._registry) + (_gauges(stats) if stats else b"")

    def requests(self) -> list[dict[str, Any]]:
        """`http_requests_total` as documents."""
        return [
            {**sample.labels, "count": int(sample.value)}
            for family in self._total.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        ]


def _gauges(stats: QueueStats) -> bytes:
    figures = {
        "lg_api_workers_max": ("Runs that all executors may execute at once.", stats.worker_max_count),
        "lg_api_workers_active": ("Runs that executors execute.", stats.worker_active_count),
        "lg_api_workers_available": ("Free slots.", stats.worker_max_count - stats.worker_active_count),
        "lg_api_num_pending_runs": ("Runs that wait.", stats.pending_count),
        "lg_api_num_running_runs": ("Runs that execute.", stats.running_count),
    }
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value}\n" for name, (text, value) in figures.items()
    ).encode()
