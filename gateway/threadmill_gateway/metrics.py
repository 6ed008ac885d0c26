"""Counts and latencies of HTTP requests by route, and the metrics document."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
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

        self.in_progress = Gauge(
            "lg_api_http_requests_in_progress",
            "Requests that are being answered, streams included.",
            registry=self._registry,
        )
        # Looking children up by labels costs more than counting.
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, path: str, status: int, seconds: float) -> None:
        """Counts one finished request; `path` is the route's template."""
        key = (method, path, status)
        found = self._children.get(key)
        if found is None:
            labels = (method, path, str(status))
            found = self._children[key] = (self._total.labels(*labels), self._latency.labels(*labels))
        total, latency = found
        total.inc()
        latency.observe(seconds)

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
    figures = (
        ("workers_max", "Runs that all executors may execute at once.", stats.worker_max_count),
        ("workers_active", "Runs that executors execute.", stats.worker_active_count),
        ("workers_available", "Free slots.", stats.worker_max_count - stats.worker_active_count),
        ("num_pending_runs", "Runs that wait.", stats.pending_count),
        ("num_running_runs", "Runs that execute.", stats.running_count),
        ("pending_runs_wait_time_max", "Longest wait of a run, in seconds.", stats.pending_wait_max_seconds),
        ("pending_runs_wait_time_med", "Median wait, in seconds.", stats.pending_wait_median_seconds),
        (
            "pending_unblocked_runs_wait_time_max",
            "Longest wait of a run that no other run of its thread blocks, in seconds.",
            stats.unblocked_wait_max_seconds,
        ),
    )
    return "".join(
        f"# HELP lg_api_{name} {text}\n# TYPE lg_api_{name} gauge\nlg_api_{name} {value}\n"
        for name, text, value in figures
    ).encode()
