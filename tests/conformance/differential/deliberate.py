"""Differences that are meant, each with its reason, which is one of these:

- the contract says otherwise;
- what the reference does is a defect: an internal error, or it loses or mixes up what clients gave it;
- it is how its runtime holds things in memory, which no database does.

Whatever is none of these is a defect of ours. A rule that accepts nothing any more goes.
"""

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
MEMORY = "how the reference holds it in memory"

DELIBERATE: tuple[Deliberate, ...] = (
    # Runs: rows
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
        f"{MEMORY}: its worker changes the row, which in a database says what was asked for",
    ),
    Deliberate(
        "double_text.*|cancel.*",
        ".*",
        r"metadata\.(graph_id|assistant_id)$",
        "runs.md, threads.md: a run has its own graph in its metadata, and creating it switches the thread's",
    ),
    Deliberate(
        "run_kwargs_variants",
        '"graph_id":"y"|GET',
        r"metadata\.graph_id$",
        "runs.md: graph_id is the last of the union; on the reference the thread then has a graph that there is not",
    ),
    Deliberate(
        "run_lazily.*|run_configs_of_a_thread|protocol_and_classic_runs",
        ".*",
        r"metadata\.graph_id$",
        "runs.md: every run of a thread has its graph in its metadata, also the first",
    ),
    Deliberate(
        "run_on_assistant",
        "^GET.*/runs",
        r"config\.configurable\.tone$",
        "runs.md: the run's assistant supplies the defaults; the reference mixes in what other assistants left behind",
    ),
    Deliberate("delete_run", "/state$", ".*", "loses data: the reference deletes the state that the row still shows"),
    Deliberate("run_stateless", "GET /runs/", r"status$", "agent_protocol.md: it has GET /runs/{run_id}"),
    # Runs: bad bodies
    Deliberate(
        "run_bad_bodies_everywhere",
        '^POST /runs(/wait|/stream)? "{}"',
        "status$",
        "agent_protocol.md: nothing required",
    ),
    Deliberate("run_bad_bodies_stateless", '"interrupt_(before|after)"', "status$", STRICTER),
    Deliberate(
        "run_bad_.*",
        r'"checkpoint":{"checkpoint_id":"bad"}|"checkpoint":"x"',
        r"status$",
        "runs.md: a bad id is 422; system.md: so is what is no object",
    ),
    Deliberate("run_bad_.*", r'"langsmith_tracer":5', r"status$", SANE),
    Deliberate("run_bad_.*", "/threads/bad/", r"status$", "system.md: malformed ids are 422"),
    Deliberate("run_resume_without_thread", "update|resume", ".*", SANE),
    Deliberate("run_.*", '"resume":null|"update":\\[\\]|"unknown":1', r"(body|data)", SANE),
    Deliberate(
        "run_interrupt_and_resume",
        "^GET /threads/<[^/]*>$",
        r"body\.(status|error)$",
        "a null answer is none; the reference's run fails with an internal error",
    ),
    Deliberate("cancel.*", ".*", r"body\.error\.message$", "wording: the reference leaves its route's placeholders in"),
    # Values and interrupts of a thread's row
    Deliberate(
        "run_several_interrupts|graph_spread",
        "^GET /threads/<[^/]*>$",
        r"values\.done$",
        "threads.md: the new values, which /state shows on both; the reference's row lacks what was written last",
    ),
    Deliberate("graph_workflow", "^GET /threads/<[^/]*>$", r"values\.__interrupt__$", "an interrupt is no value"),
    Deliberate("state_update_then_run|state_of_subgraph", "GET /threads/<[^/]*>$", r"(values|interrupts)\.", SANE),
    Deliberate(
        "thread_copy|graph_deltas",
        "^GET /threads/<[^/]*>$",
        r"body\.values$",
        f"{MEMORY}: a copy without the key; a column is null, as on any thread without a run",
    ),
    Deliberate(
        "run_several_interrupts",
        "/join$",
        r"response_schema$",
        "runs.md: a run that has ended meanwhile is joined without",
    ),
    Deliberate(
        "graph_spread",
        "/wait ",
        r"__interrupt__\[\d\]\.",
        "parallel tasks ask in the order in which they get there",
    ),
    # Streams
    Deliberate(
        ".*",
        '"events"',
        r"order$",
        f"{MEMORY}: it sends what astream_events tells in bursts, not as it happens",
    ),
    Deliberate("thread_stream_modes", "/stream", "order$", "in the order of what happened"),
    Deliberate(
        "stream_resumable",
        "stream_mode=custom&stream_mode=values",
        "names$",
        "so the Python client asks for several modes; the reference loses all but the last",
    ),
    # States
    Deliberate(
        "graph_.*|state_reads",
        'state/<uuid>|state/bad|"checkpoint_id":"bad"',
        r"body\.checkpoint\.checkpoint_ns$",
        "threads.md: a checkpoint has it, in whichever way it is read",
    ),
    Deliberate("state_updates", "^GET", r"metadata\.thread_id$", "threads.md: a state's metadata has it"),
    Deliberate("state_updates.*", r'"log":5', "status$", SANE),
    Deliberate(
        "state_updates_elsewhere",
        '"checkpoint_id":',
        "status$",
        "loses data: on the reference an update at no checkpoint leaves the thread with nothing but the update",
    ),
    Deliberate(
        "state_reads",
        '"before":|before=bad',
        "status$",
        "threads.md: the flat form works; system.md: malformed ids are 422",
    ),
    Deliberate("thread_supersteps", "command", "status$", SANE),
    Deliberate(
        "state_of_messages", "storage", r"(count|versions)$", f"{MEMORY}: versions of empty channels are no blobs"
    ),
    # Threads
    Deliberate("thread_create", '"ttl":{}|"ttl":-1', "status$", "README 4: a time to live is kept, so it must be one"),
    Deliberate("state_of_messages", "include=", r"\.ttl$", "threads.md: ttl is served"),
    Deliberate("thread_search", '"values":', "status$", SANE),
    Deliberate("thread_search", r'"values(\.\.b|\[0)"', "status$", STRICTER),
    Deliberate("thread_prune_keep_latest", "prune", "status$", "README 4: keep_latest is served"),
    # Assistants
    Deliberate(
        "graph_views|assistant_views",
        "schemas|subgraphs",
        r"(input|output)_schema$",
        "the reference fails to make them",
    ),
    Deliberate("graph_views", "schemas", r"state_schema\.properties\.__end__$", "no channel of the user's"),
    Deliberate(
        "assistant_versions",
        "latest|^GET|after",
        r"\.(graph_id|context)",
        "README 2: latest restores the whole version",
    ),
    Deliberate("assistant_search", '"sort_by":"graph_id"', r"body\[", f"{MEMORY}: the order of equals"),
    Deliberate("assistant_search", '"sort_by":"name"', r"body\[", f"{MEMORY}: Python's order; ours is the database's"),
    # Crons
    Deliberate("cron_bad_bodies", '"end_time":"bogus"', "status$", STRICTER),
    Deliberate("cron_update", '"end_time":"bogus"', "status$", STRICTER),
    Deliberate("cron_bad_bodies", '"{}"', "status$", SANE),
    Deliberate("cron_.*", ".*", r"end_time$", "system.md: timestamps have one form"),
    Deliberate(
        "cron_bad_bodies", '"end_time":"<time', "next_run_date$", "README 2: its end is over, so there is no next run"
    ),
    Deliberate("cron_search", '"sort_by":"(thread_id|end_time)"', r"body\[", f"{MEMORY}: the order of equals"),
    # The store
    Deliberate("store_search", "", r"body\.items", "store.md: order of insertion, not of namespaces"),
    Deliberate("store_search", r"\$(gt|gte|lte)", "status$", SANE),
    Deliberate("store_parameters", '"even":1', r"body\.items$", "in JSON, unlike in Python, 1 is not true"),
    Deliberate("store_items", "namespace=a&key=k", "body$", "agent_protocol.md: namespace may be repeated"),
    Deliberate("store_items", '"ttl":-1', "status$", "README 4: a time to live is kept, so it must be one"),
    Deliberate("store_namespaces", '"(limit|offset|max_depth)":-1', "status$", STRICTER),
    # Thread streaming
    Deliberate(
        "protocol_.*", "/stream/events", r"data\[\d+\]\.seq$", "numbers may skip: here, an event of other streams"
    ),
    Deliberate(
        "protocol_.*",
        "run.start",
        r"meta\.applied_through_seq$",
        "the SDKs begin there to read: with 0 they take an older run's end for that of theirs",
    ),
    Deliberate(
        "protocol_failing|protocol_cancelled",
        r"^GET /threads/<id \d+>$",
        r"body\.(status|values|interrupts)$",
        f"{SANE}: by threads.md, a run leaves its state behind however it ends",
    ),
    Deliberate(
        "protocol_cancelled", "^GET", r"body\.error\.message$", "the reference names its route's pattern, not the run"
    ),
    Deliberate(
        "protocol_and_classic_runs", "/join", r"body\.", f"{SANE}: join answers values, not an envelope of them"
    ),
    # Conventions
    Deliberate(
        "bad_ids", "/join|/stream", r"headers\.(content-)?location$", "ids are sent in their canonical form, as in rows"
    ),
    Deliberate("bad_ids", "%00/copy", "status$", "system.md: malformed ids are 422"),
    Deliberate("bad_methods", "/(ok|metrics|openapi.json) ", "status$", "system.md: wrong method is 405"),
    Deliberate("system_conventions", "POST /(ok|info)", "status$", "system.md: wrong method is 405"),
    Deliberate("bad_methods", ".*", r"headers\.allow$", "Allow names all methods"),
    Deliberate("system_conventions", "^(DELETE|PATCH|PUT)", r"headers\.allow$", "Allow names all methods"),
    Deliberate("system_conventions", "^GET", r"headers\.location$", "absolute, so each server's own"),
    Deliberate("system_cors", ".*", "expose-headers$", "browsers need Location to reconnect"),
    Deliberate("system_health", "/info", r"body\.version$", "another server"),
    Deliberate(
        "system_openapi",
        ".*",
        r"operations\.(\w+ /(agents|runs/(search|{run_id})|openapi\.json$|$)|post /threads/{thread_id}/stream$)",
        "agent_protocol.md: ours has it too",
    ),
    Deliberate(
        "system_openapi",
        ".*",
        r"operations\.\w+ /(mcp/|a2a/)",
        "mcp_a2a.md: not served yet",
    ),
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
