"""The table, the JSON file and the plot of a comparison."""

import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
YARDSTICKS = ("trivial", "floor")
# Which figure of a workload counts, its unit, and whether more is better.
FIGURES: dict[str, list[tuple[str, str, bool]]] = {
    "wait": [("per_second", "/s", True), ("p50_ms", "ms", False)],
    "stream": [
        ("first_ms", "ms to first", False),
        ("events_per_second", "events/s", True),
        ("p50_ms", "ms in all", False),
    ],
    "idle_streams": [("kb_per_stream", "KB/stream", False)],
    "wait_beside_idle": [("p50_ms", "ms", False)],
    "mixed": [
        ("per_second", "/s", True),
        ("p50_ms", "ms p50", False),
        ("p95_ms", "ms p95", False),
        ("p99_ms", "ms p99", False),
    ],
    "idle_memory": [("total_mb", "MB", False)],
}
DEFAULT_FIGURES = [("per_second", "/s", True)]


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement of one server in one round."""

    server: str
    round: int
    row: Mapping[str, object]


def idle_memory_row(memory_mb: Mapping[str, float]) -> dict[str, object]:
    """Memory of a server that has just started."""
    by_process = {name: round(size, 1) for name, size in memory_mb.items()}
    return {
        "workload": "idle_memory",
        "clients": 0,
        "total_mb": round(sum(memory_mb.values()), 1),
        "by_process": by_process,
    }


def _medians(results: list[Result], figure: str, key: tuple[str, int]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for result in results:
        value = result.row.get(figure)
        if (result.row["workload"], result.row["clients"]) == key and isinstance(value, int | float):
            found.setdefault(result.server, []).append(float(value))
    return {server: median(values) for server, values in found.items()}


def _ratio(medians: Mapping[str, float], more_is_better: bool) -> str:
    peers = {name: value for name, value in medians.items() if name not in ("threadmill", *YARDSTICKS)}
    ours = medians.get("threadmill")
    if not peers or not ours:
        return "-"
    choose: Callable[..., str] = max if more_is_better else min
    best = choose(peers, key=lambda name: peers[name])
    ratio = ours / peers[best] if more_is_better else peers[best] / ours
    return f"{ratio:.1f}x {best}"


def table(results: list[Result]) -> str:
    """Markdown: a row per figure, a column per server, and the ratio to the best peer (above 1: better)."""
    servers = list(dict.fromkeys(r.server for r in results if r.server not in YARDSTICKS))
    columns = [*servers, *[name for name in YARDSTICKS if any(r.server == name for r in results)]]
    keys = dict.fromkeys((str(r.row["workload"]), int(str(r.row["clients"]))) for r in results)
    lines = [
        f"| workload | {' | '.join(columns)} | Threadmill against the best peer |",
        f"|---|{'---|' * (len(columns) + 1)}",
    ]
    for workload, clients in keys:
        for figure, unit, more_is_better in FIGURES.get(workload, DEFAULT_FIGURES):
            medians = _medians(results, figure, (workload, clients))
            cells = [f"{medians[name]:,.4g}" if name in medians else "-" for name in columns]
            title = f"{workload.replace('_', ' ')}, {clients} clients" if clients else workload.replace("_", " ")
            lines.append(f"| {title} ({unit}) | {' | '.join(cells)} | {_ratio(medians, more_is_better)} |")
    return "\n".join(lines)


def errors(results: list[Result]) -> str:
    """What went wrong under load, a line each."""
    lines = [
        f"- {r.server}, {r.row['workload']} with {r.row['clients']} clients: {seen}"
        for r in results
        if (seen := r.row.get("failed") or r.row.get("errors"))
    ]
    return "\n".join(dict.fromkeys(lines))


def write_report(results: list[Result], out: Path, plot_python: str) -> str:
    """Writes table.md, results.json and plot.svg into the folder; answers the table."""
    out.mkdir(parents=True, exist_ok=True)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    head = f"{datetime.now(UTC):%Y-%m-%d}, {machine}; medians of {max(r.round for r in results)} rounds"
    failures = errors(results)
    text = f"{head}\n\n{table(results)}\n" + (f"\nErrors seen:\n{failures}\n" if failures else "")
    (out / "table.md").write_text(text)
    data = {"head": head, "results": [asdict(result) for result in results]}
    (out / "results.json").write_text(json.dumps(data, indent=1))
    subprocess.run([plot_python, str(HERE / "plot.py"), str(out / "results.json"), str(out / "plot.svg")], check=True)
    return text
