"""Draws results.json as bars, a panel per workload: `python plot.py results.json plot.svg`. Runs beside the load
generator, whose environment has matplotlib."""

import json
import sys
from statistics import median

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

HIDDEN = ("idle_memory", "idle_streams", "wait_beside_idle")


def main(source: str, target: str) -> None:
    with open(source, encoding="utf-8") as file:
        document = json.load(file)
    values: dict[str, dict[str, list[float]]] = {}
    for result in document["results"]:
        row = result["row"]
        figure = row.get("events_per_second") or row.get("per_second")
        if figure and row["workload"] not in HIDDEN and result["server"] != "trivial":
            panel = f"{row['workload']}, {row['clients']} clients"
            values.setdefault(panel, {}).setdefault(result["server"], []).append(figure)
    columns = 3
    rows = -(-len(values) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4 * columns, 2.2 * rows), squeeze=False)
    for axis, (panel, servers) in zip(axes.flat, values.items(), strict=False):
        axis.barh(list(servers), [median(found) for found in servers.values()])
        axis.set_title(panel, fontsize=9)
        axis.tick_params(labelsize=7)
    for axis in list(axes.flat)[len(values) :]:
        axis.set_axis_off()
    figure.suptitle(f"operations (streams: events) per second; {document['head']}", fontsize=8)
    figure.tight_layout()
    figure.savefig(target)


main(sys.argv[1], sys.argv[2])
