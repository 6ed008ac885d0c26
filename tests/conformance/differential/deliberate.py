"""Differences that the contract wants, or leaves free, each with its reason."""

import re
from dataclasses import dataclass

from .report import Difference


@dataclass(frozen=True, slots=True)
class Deliberate:
    """Accepts a difference whose script, request and place match, as regular expressions."""

    script: str
    request: str
    where: str
    reason: str


STRICTER = "README 3: what cannot be served is refused, not ignored"
SANE = "README 2: a defect of the reference"

DELIBERATE: tuple[Deliberate, ...] = (
    Deliberate(
        ".*",
        ".*",
        r"configurable\.(__after_seconds__|__pregel_node_finished|__request_start_time_ms__)$",
        "internals of the reference",
    ),
    Deliberate("cancel.*", ".*", r"body\.error\.message$", "the reference leaves the placeholders of its route in"),
    Deliberate(
        "run_unknown_ids|double_text.*|cancel.*", "/(join|stream)$", r"headers\.(content-)?location$", "no such run"
    ),
    Deliberate("run_bad_.*", r'"langsmith_tracer":5|"checkpoint":', r"status$", STRICTER),
    Deliberate("run_bad_.*", "/threads/bad/", r"status$", "system.md: malformed ids are 422"),
    Deliberate("run_list_queries", "(limit|offset)=", r"status$", STRICTER),
    Deliberate("run_resume_without_thread", "update|resume", ".*", SANE),
    Deliberate("delete_run", "/state$", ".*", "a run's checkpoints outlive its row"),
    Deliberate("assistant_views", "schemas|subgraphs", r"(input|output)_schema$", "the reference fails to make them"),
    Deliberate(
        "assistant_versions",
        "latest|^GET|after",
        r"\.(graph_id|context)",
        "README 2: latest restores the whole version",
    ),
    Deliberate("assistant_search", '"name"', r"body\[", "order of names by collation"),
    Deliberate("store_search", "", r"body\.items", "store.md: order of insertion, not of namespaces"),
    Deliberate("store_search", r"\$(gt|gte|lte)", "status$", SANE),
    Deliberate("store_items", "key=k$", r"(body|content-type)$", "errors are JSON"),
    Deliberate("store_.*", "ttl|limit|offset|max_depth", "status$", STRICTER),
    Deliberate("thread_search", '"values":', "status$", SANE),
    Deliberate("thread_search", r'"values(\.\.b|\[0)"', "status$", STRICTER),
    Deliberate("run_.*", '"resume":null|"update":\\[\\]|"unknown":1', r"(body|data)", SANE),
    Deliberate("thread_create", "ttl", "status$", STRICTER),
    Deliberate("thread_supersteps", "command", "status$", SANE),
    Deliberate("state_update_then_run", "GET /threads/<[^/]*>$", r"(values|interrupts)\.", SANE),
    Deliberate("state_of_subgraph", "GET /threads/<[^/]*>$", r"(values|interrupts)\.", SANE),
    Deliberate(
        "state_.*|thread_stream.*", ".*", r"metadata\.assistant_id$", "updates are stamped with the assistant too"
    ),
    Deliberate("state_of_messages", "storage", r"(count|versions)$", "empty channels hold no blob"),
    Deliberate("state_of_messages", "include=", r"\.ttl$", "ttl is served"),
    Deliberate("system_health", "/info", "version|flags", "another server"),
    Deliberate(
        "system_conventions", "^(GET|PATCH)", r"headers\.(location|allow)$", "absolute URL; Allow names all methods"
    ),
    Deliberate("system_conventions", "POST /(ok|info)", "status$", "system.md: wrong method is 405"),
    Deliberate("system_cors", ".*", "expose-headers$", "browsers need Location to reconnect"),
)


def reason_for(script: str, difference: Difference) -> str | None:
    """Why this difference is accepted; None when it is not."""
    asked = str(difference).split("\n", 1)[0]
    for rule in DELIBERATE:
        if (
            re.fullmatch(rule.script, script)
            and re.search(rule.request, asked)
            and re.search(rule.where, difference.where)
        ):
            return rule.reason
    return None
