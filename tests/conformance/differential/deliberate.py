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
    Deliberate(
        ".*",
        "^GET",
        r"kwargs\.config\.(metadata\.(run_attempt|langgraph_.*)|configurable\.(__context_provided__|extra|other))$",
        "the reference's worker changes the row in memory; with a database, a row holds what was asked for",
    ),
    Deliberate(".*", "^POST", r"kwargs\.config\.configurable\.__context_provided__$", "internals of the reference"),
    Deliberate(
        ".*",
        ".*",
        r"metadata\.(checkpoint_(id|ns|map)|langgraph_(step|node|triggers|path|checkpoint_ns))$",
        "LangGraph's rule for savers: a checkpoint's metadata does not repeat its config; only the in-memory one does",
    ),
    Deliberate(
        ".*", '"events"', r"order$", "the reference sends what astream_events tells in bursts, not as it happens"
    ),
    Deliberate(
        "double_text.*|cancel.*",
        ".*",
        r"metadata\.(graph_id|assistant_id)$",
        "a queued run has its own graph in its metadata; the reference takes that of the run before it",
    ),
    Deliberate("run_kwargs_variants", '"graph_id":"y"|GET', r"metadata\.graph_id$", "README: reserved, the server's"),
    Deliberate("run_kwargs_variants", ".*", r"feedback_keys$", "no keys are none"),
    Deliberate("run_stateless", "GET /runs/", r"status$", "agent_protocol.md: it has GET /runs/{run_id}"),
    Deliberate(
        "run_bad_bodies_everywhere",
        '^POST /runs(/wait|/stream)? "{}"',
        "status$",
        "agent_protocol.md: nothing required",
    ),
    Deliberate("run_bad_bodies_stateless", '"interrupt_(before|after)"', "status$", STRICTER),
    Deliberate(
        "run_interrupt_and_resume",
        "^GET /threads/<[^/]*>$",
        r"body\.(status|error)$",
        "a null answer is none; the reference's run fails",
    ),
    Deliberate(
        "run_several_interrupts", "^GET /threads/<[^/]*>$", r"values\.done$", "the row's values are those of /state"
    ),
    Deliberate(
        "run_on_assistant",
        "^GET /threads/<[^/]*>",
        r"body\.(config\.|metadata\.extra)",
        "the config of the last run, whole",
    ),
    Deliberate("thread_copy", "^GET", r"body\.values$", "null, as on any thread without a run"),
    Deliberate(
        "assistant_versions",
        r'"config":{},"context":{}|versions|"unknown"',
        r"context\.size$",
        "an empty context counts as none given",
    ),
    Deliberate("assistant_search", '"sort_by":"graph_id"', r"body\[", "order of equals"),
    Deliberate("state_reads", "GET", r"body\.checkpoint\.checkpoint_ns$", "RemoteGraph reads it"),
    Deliberate("state_updates.*", r'"log":5|"bad"', "status$", SANE),
    Deliberate("store_items", '"index":(null|false)', "status$", SANE),
    Deliberate(
        "stream_resumable", "stream_mode=custom&stream_mode=values", "names$", "README 3: none of them is ignored"
    ),
    Deliberate("stream_agent", '"events"', r"\.id$", "events are sent as they happen, before the reducer gives the id"),
    Deliberate("thread_stream_modes", "/stream", "order$", "in the order of what happened"),
    Deliberate(
        "run_on_assistant",
        "^GET",
        r"config\.configurable\.tone$",
        "a thread does not remember one assistant's config for another's runs",
    ),
    Deliberate("state_reads", '"checkpoint_id":"bad"', r"body\.checkpoint\.checkpoint_ns$", "RemoteGraph reads it"),
    Deliberate("state_updates", "^GET", r"metadata\.thread_id$", "it is in the others"),
    Deliberate("system_openapi", ".*", r"operations\.", "the Agent Protocol is in ours"),
    Deliberate("graph_views", "schemas|subgraphs", r"(input|output)_schema$", "the reference fails to make them"),
    Deliberate("graph_views", "schemas", r"state_schema\.properties\.__end__$", "no channel of the user's"),
    Deliberate("graph_.*|state_.*", "state/<uuid>", r"body\.checkpoint\.checkpoint_ns$", "RemoteGraph reads it"),
    Deliberate("graph_.*|bulk_.*", ".*", r"metadata\.assistant_id$", "updates are stamped with the assistant too"),
    Deliberate("graph_spread", "^GET /threads/<[^/]*>$", r"values\.done$", "the row's values are those of /state"),
    Deliberate("graph_workflow", "^GET /threads/<[^/]*>$", r"values\.__interrupt__$", "an interrupt is no value"),
    Deliberate(
        "graph_deltas", "^GET /threads/<[^/]*>$", r"body\.values$", "a copy: null, as on any thread without a run"
    ),
    Deliberate("stream_.*", '"events".*"command"', r"input\.goto$", "nowhere to go: [] as well as null"),
    Deliberate("bad_ids", "/join|/stream", r"headers\.(content-)?location$", "ids are sent in their canonical form"),
    Deliberate("bad_ids", "%00/copy", "status$", "system.md: malformed ids are 422"),
    Deliberate("bad_methods", "/(ok|metrics|openapi.json) ", "status$", "system.md: wrong method is 405"),
    Deliberate("bad_methods", ".*", r"headers\.allow$", "Allow names all methods"),
    Deliberate("cron_bad_bodies", '"end_time":"bogus"', "status$", STRICTER),
    Deliberate("cron_bad_bodies", '"{}"', "status$", SANE),
    Deliberate("cron_bad_bodies", '"input":(null|\\[1\\])', "status$", "crons.md: input may be a list; runs take null"),
    Deliberate("cron_.*", ".*", r"end_time$", "system.md: timestamps have one form"),
    Deliberate("cron_update", '"end_time":"bogus"', "status$", STRICTER),
    Deliberate("cron_search", '"sort_by":"(thread_id|end_time)"', r"body\[", "order of equals"),
    Deliberate("system_docs", "check_db=nonsense", "status$", "any value asks for the check"),
    Deliberate(
        "graph_spread", "/wait ", r"__interrupt__\[\d\]\.", "parallel tasks ask in the order in which they get there"
    ),
    Deliberate(
        "cron_bad_bodies", '"end_time":"<time', "next_run_date$", "crons.md: its end is over, so there is no next run"
    ),
    Deliberate(
        "state_reads", '"before":|before=bad', "status$", "threads.md: the flat form works; what is no id is refused"
    ),
    Deliberate(
        "run_several_interrupts",
        "/join$",
        r"response_schema$",
        "runs.md: a run that has ended meanwhile is joined without",
    ),
    Deliberate(
        "run_everything_given|run_lazily.*",
        "^GET",
        r"body\.config\.configurable\.",
        "the config of the last run, whole",
    ),
    Deliberate(
        "run_lazily.*",
        ".*",
        r"metadata\.graph_id$",
        "the run of a thread that is new has its graph in its metadata too",
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
