"""What the thread-streaming protocol shows of the log, by which ids clients know it, and what of it a client wants."""

import orjson
import pytest
from threadmill_chassis.errors import InvalidArgument
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_runs.events.log import END_EVENT
from threadmill_runs.events.protocol_view import CHANNELS, ProtocolFilter, Selection, root_lifecycle, shown


def event(name, data=None, **fields):
    """An event that the attempt, which wrote first at 1000 ms, wrote as its third; `timestamp_ms` tells v2 events."""
    defaults = {"id": "1000-3", "seq": 7, "run_id": "run", "graph_id": "graph"}
    data_json = data if isinstance(data, bytes) else orjson.dumps(data)
    return runs_pb2.Event(name=name, data_json=data_json, **{**defaults, **fields})


def data_of(protocol_event):
    return orjson.loads(protocol_event.data_json)


def ending(status, **fields):
    return shown(event(END_EVENT, {"status": status, "at": 4321, **fields}))


def test_an_attempt_that_begins_is_shown_as_running():
    seen = shown(event("metadata", {"run_id": "run", "attempt": 1}))
    assert seen == runs_pb2.ProtocolEvent(
        id="1000-3",
        event_id="synth:run:lc||running",
        seq=7,
        method="lifecycle",
        timestamp_ms=1000,
        data_json=b'{"event":"running","graph_name":"graph"}',
        run_id="run",
    )


@pytest.mark.parametrize(
    ("status", "fields", "shown_as"),
    [
        ("success", {}, "completed"),
        ("success", {"paused": True}, "interrupted"),
        ("success", {"paused": False}, "completed"),
        ("error", {}, "failed"),
        ("timeout", {}, "failed"),
        ("interrupted", {}, "interrupted"),
        ("interrupted", {"paused": True}, "interrupted"),
        ("rollback", {}, "interrupted"),
    ],
)
def test_the_end_of_a_run(status, fields, shown_as):
    seen = ending(status, **fields)
    assert (seen.method, list(seen.namespace), seen.timestamp_ms, seen.seq) == ("lifecycle", [], 4321, 7)
    assert data_of(seen) == {"event": shown_as, "graph_name": "graph"}
    assert seen.event_id == f"synth:run:lc||{shown_as}"


@pytest.mark.parametrize("status", ["error", "timeout"])
def test_of_an_error_clients_see_the_message(status):
    seen = ending(status, error={"error": "ValueError", "message": "bad value"}, paused=True)
    assert data_of(seen) == {"event": "failed", "graph_name": "graph", "error": "bad value"}


@pytest.mark.parametrize("status", ["success", "interrupted", "rollback"])
def test_only_failures_have_an_error(status):
    assert "error" not in data_of(ending(status, error={"error": "ValueError", "message": "bad value"}))


def test_an_end_without_its_moment_is_as_old_as_its_attempt():
    assert shown(event(END_EVENT, {"status": "success"})).timestamp_ms == 1000


def test_the_moment_of_a_root_event_may_be_given():
    seen = root_lifecycle(event("metadata"), "running", at=55)
    assert (seen.timestamp_ms, seen.event_id) == (55, "synth:run:lc||running")


@pytest.mark.parametrize("name", ["values", "updates", "messages", "tools", "custom", "tasks", "checkpoints"])
def test_events_made_for_the_protocol_are_passed_on_as_they_are(name):
    seen = shown(event(f"{name}|child:1|leaf:2", b'{"__interrupt__" : 1}', timestamp_ms=99))
    assert seen == runs_pb2.ProtocolEvent(
        id="1000-3",
        event_id="1000-3",
        seq=7,
        method=name,
        namespace=["child:1", "leaf:2"],
        timestamp_ms=99,
        data_json=b'{"__interrupt__" : 1}',
        run_id="run",
    )


def test_values_of_other_runs_lose_their_interrupts():
    seen = shown(event("values|child:1", {"n": 1, "__interrupt__": [{"id": "i", "value": 2}]}))
    assert (seen.method, list(seen.namespace), seen.timestamp_ms) == ("values", ["child:1"], 1000)
    assert data_of(seen) == {"n": 1}


@pytest.mark.parametrize("data_json", [b'{ "n": 1 }', b"[1]", b'"text"', b'{"said":"\\"__interrupt__\\" is a key"}'])
def test_values_of_other_runs_without_interrupts_are_not_touched(data_json):
    assert shown(event("values", data_json)).data_json == data_json


def test_values_need_not_be_an_object():
    assert shown(event("values", ["__interrupt__"])).data_json == b'["__interrupt__"]'


@pytest.mark.parametrize("name", ["updates", "custom", "tasks"])
def test_what_is_the_same_in_other_runs_is_shown(name):
    seen = shown(event(f"{name}|child:1", {"node": {"n": 1}}))
    assert (seen.method, list(seen.namespace), data_of(seen)) == (name, ["child:1"], {"node": {"n": 1}})
    assert (seen.event_id, seen.timestamp_ms) == ("1000-3", 1000)


@pytest.mark.parametrize(
    "name",
    ["messages", "messages|child:1", "messages/partial", "checkpoints", "debug", "events", "error", "state_update"],
)
def test_the_rest_of_other_runs_is_hidden(name):
    assert shown(event(name, {})) is None


def lifecycle(what, *namespace):
    return shown(event("|".join(("lifecycle", *namespace)), {"event": what, "graph_name": "child"}, timestamp_ms=9))


@pytest.mark.parametrize("what", ["completed", "failed", "interrupted"])
def test_ends_of_subgraphs_are_named_by_run_and_place(what):
    assert lifecycle(what, "child:1").event_id == f"synth:run:lc|child:1|{what}"
    assert lifecycle(what, "mid:1", "child:2").event_id == f"synth:run:lc|mid:1\ufffdchild:2|{what}"


def test_the_begin_of_a_subgraph_keeps_the_id_of_its_place_in_the_log():
    assert lifecycle("started", "mid:1", "child:2").event_id == "1000-3"


@pytest.mark.parametrize(
    ("namespace", "level"), [((), ""), (("child:1",), "child:1"), (("mid:1", "child:2"), "mid:1\ufffdchild:2")]
)
def test_requests_are_named_by_what_they_ask(namespace, level):
    name = "|".join(("input.requested", *namespace))
    seen = shown(event(name, {"interrupt_id": "i1", "payload": {"q": 1}}, timestamp_ms=9))
    assert (seen.method, tuple(seen.namespace)) == ("input.requested", namespace)
    assert seen.event_id == f"synth:run:input|{level}|i1"
    assert data_of(seen) == {"interrupt_id": "i1", "payload": {"q": 1}}


def selection(*channels, namespaces=(), depth=None):
    return runs_pb2.Selection(
        channels=channels, namespaces=[runs_pb2.Namespace(segments=each) for each in namespaces], depth=depth
    )


def frame(method, *namespace, data=None):
    return runs_pb2.ProtocolEvent(method=method, namespace=namespace, data_json=orjson.dumps(data))


def wanted(*selections):
    return ProtocolFilter.of(runs_pb2.FollowThreadRequest(selections=selections))


@pytest.mark.parametrize("channel", sorted(CHANNELS))
def test_a_channel_admits_its_own_events_only(channel):
    frames = {name: frame("input.requested" if name == "input" else name, data={}) for name in CHANNELS}
    assert [name for name, each in frames.items() if Selection.of(selection(channel)).admits(each)] == [channel]


@pytest.mark.parametrize(
    ("data", "admitted"),
    [
        ({"name": "progress", "payload": 1}, True),
        ({"name": "progress"}, True),
        ({"name": "other", "payload": 1}, False),
        ({"payload": 1}, False),
        ({"name": None}, False),
        (["progress"], False),
        ("progress", False),
    ],
)
def test_a_named_channel_admits_what_has_its_name(data, admitted):
    named = Selection.of(selection("values", "custom:progress"))
    assert named.admits(frame("custom", data=data)) is admitted
    assert Selection.of(selection("custom:progress", "custom")).admits(frame("custom", data=data))


def test_a_named_channel_admits_no_other_method():
    named = Selection.of(selection("custom:progress"))
    assert not named.admits(frame("values", data={"name": "progress"}))
    assert not Selection.of(selection("values")).admits(frame("custom", data={"name": "progress"}))


@pytest.mark.parametrize(
    ("prefixes", "namespace", "admitted"),
    [
        ([], ("child:1", "leaf:2"), True),
        ([[]], (), True),
        ([[]], ("child:1", "leaf:2"), True),
        ([["child"]], ("child:1",), True),
        ([["child"]], ("child:1", "leaf:2"), True),
        ([["child"]], ("child",), True),
        ([["child"]], (), False),
        ([["child"]], ("children:1",), False),
        ([["child"]], ("other:1", "child:1"), False),
        ([["child:1"]], ("child:1",), True),
        ([["child:1"]], ("child:2",), False),
        ([["child", "leaf"]], ("child:1",), False),
        ([["child", "leaf"]], ("child:1", "leaf:2"), True),
        ([["child", "leaf:2"]], ("child:1", "leaf:3"), False),
        ([["other"], ["child:1"]], ("child:1",), True),
        ([["other"], ["another"]], ("child:1",), False),
    ],
)
def test_namespaces(prefixes, namespace, admitted):
    some = Selection.of(selection("values", namespaces=prefixes))
    assert some.admits(frame("values", *namespace)) is admitted
    assert not some.admits(frame("updates", *namespace)), "the channel counts as well"


@pytest.mark.parametrize(
    ("prefixes", "depth", "deepest"),
    [([[]], 0, 0), ([[]], 1, 1), ([["a"]], 0, 1), ([["a"]], 1, 2), ([["a"], []], 1, 2), ([["a"]], None, 3), ([], 0, 3)],
)
def test_depth_counts_from_the_namespace(prefixes, depth, deepest):
    some = Selection.of(selection("values", namespaces=prefixes, depth=depth))
    path = ("a:1", "b:2", "c:3")
    admitted = [level for level in range(4) if some.admits(frame("values", *path[:level]))]
    assert admitted[-1] == deepest


def test_several_selections_admit_what_any_of_them_does():
    both = wanted(selection("values", namespaces=[[]], depth=0), selection("updates", namespaces=[["child"]]))
    admitted = [both.admits(frame(method, *path)) for method in ("values", "updates") for path in ((), ("child:1",))]
    assert admitted == [True, False, False, True]


@pytest.mark.parametrize(
    "channels", [(), ("bogus",), ("values", "bogus"), ("custom:",), ("input.requested",), ("values:x",), ("",)]
)
def test_bad_channels_are_refused(channels):
    with pytest.raises(InvalidArgument):
        wanted(selection("values"), selection(*channels))


def test_at_least_one_selection_is_needed():
    with pytest.raises(InvalidArgument):
        wanted()


@pytest.mark.parametrize(
    ("selections", "signals_only"),
    [
        ([selection("lifecycle", "input")], True),
        ([selection("input", "lifecycle"), selection("lifecycle", "input")], True),
        ([selection("lifecycle", "input", depth=3)], True),
        ([selection("lifecycle")], False),
        ([selection("lifecycle", "input", "values")], False),
        ([selection("lifecycle", "input", namespaces=[[]])], False),
        ([selection("lifecycle", "input"), selection("values")], False),
        ([selection("lifecycle"), selection("input")], False),
    ],
)
def test_who_waits_for_signals_only(selections, signals_only):
    assert wanted(*selections).signals_only is signals_only
