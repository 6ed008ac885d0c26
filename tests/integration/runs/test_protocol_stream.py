"""The thread-streaming protocol: the events of a thread are numbered, replayed as far as its clients need, and told on.

A run made for the protocol is a resumable one whose events say when they arose.
"""

import asyncio
from datetime import timedelta

import grpc
import orjson
import pytest
from eventually import until
from threadmill_chassis.grpc_errors import reason_of
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2, runs_pb2_grpc
from threadmill_runs.events import protocol_stream
from threadmill_runs.events.log import LogKeys

EVERYTHING = ("values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints")
SIGNALS = ("lifecycle", "input")
AT = 1_700_000_000_000
PATIENCE_SECONDS = 20.0
SOON_SECONDS = 0.2
SUCCESS, ERROR = executors_pb2.Outcome.RESULT_SUCCESS, executors_pb2.Outcome.RESULT_ERROR
LAST_RUN = runs_pb2.REPLAY_LAST_RUN
# Fields of the outcome of a run that asks for nothing.
RESTING = {"values_json": b"{}", "interrupts_json": b"{}"}


def follow(system, thread_id, *channels, stub=None, **fields):
    request = runs_pb2.FollowThreadRequest(
        thread_id=thread_id, selections=[runs_pb2.Selection(channels=channels or EVERYTHING)], **fields
    )
    return (stub or system.runs).FollowThread(request)


async def take(call, count):
    """So many events, and whatever comes in one message with the last of them."""
    events = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(events) < count:
            events += (await call.read()).batch.events
    return events


async def replayed(call):
    """All that is told until the stream is live."""
    events = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            message = await call.read()
            events += message.batch.events
            if message.live:
                return events


async def past(system, thread_id, *channels, **fields):
    """What is replayed to a client that comes now."""
    call = follow(system, thread_id, *channels, **fields)
    events = await replayed(call)
    call.cancel()
    return events


async def position(system, thread_id):
    return (await system.runs.GetThreadPosition(runs_pb2.GetThreadPositionRequest(thread_id=thread_id))).seq


def told(events):
    """(method, what) of events: of a lifecycle event its kind, of a request its id, of values their `n`."""
    return [(each.method, what(orjson.loads(each.data_json))) for each in events]


def what(data):
    for key in ("event", "interrupt_id", "n"):
        if isinstance(data, dict) and key in data:
            return data[key]
    return data


def runs_of(events):
    """Ids of the runs in their order."""
    return list(dict.fromkeys(each.run_id for each in events))


def numbers(events):
    return [each.seq for each in events]


def named(events):
    return [(each.seq, each.event_id, each.id) for each in events]


def values(n):
    return ("values", {"n": n}, AT)


def asks(*interrupt_ids):
    return [
        ("input.requested", {"interrupt_id": each, "payload": {"question": each}}, AT + 1) for each in interrupt_ids
    ]


def waiting_for(*interrupt_ids):
    """Fields of an outcome that leaves the thread waiting for answers."""
    interrupts = [{"id": each, "value": {"question": each}} for each in interrupt_ids]
    return {"has_next": True, "interrupts_json": orjson.dumps({"task": interrupts}), "values_json": b"{}"}


async def run_once(system, executor, thread_id, *events, resumable=True, **outcome):
    """A run from begin to end, and its id."""
    run = await system.create(thread_id, stream_resumable=resumable)
    await executor.finish(await executor.assignment(), *events, **(RESTING | outcome))
    return run.run_id


async def paused_run(system, executor, thread_id, *interrupt_ids):
    return await run_once(system, executor, thread_id, *asks(*interrupt_ids), **waiting_for(*interrupt_ids))


async def long_ago(system, *run_ids, ago=timedelta(hours=1)):
    """The runs began, and ended, so much earlier."""
    await system.sql.execute(
        "UPDATE runs.run SET created_at = created_at - $2::interval, started_at = started_at - $2::interval,"
        " ended_at = ended_at - $2::interval, updated_at = updated_at - $2::interval WHERE run_id = ANY($1::uuid[])",
        list(run_ids),
        ago,
    )


async def expire(system, thread_id, *, count_too=False):
    """As time does to the log of a thread."""
    keys = LogKeys(thread_id)
    await system.redis.delete(keys.stream, keys.fence, *([keys.count] if count_too else []))


async def lose_what_comes(system, thread_id):
    """Redis takes no further event of the attempt, as if it had lost them."""
    await system.redis.hset(LogKeys(thread_id).fence, "token", 10**12)


async def drop_last_batch(system, thread_id):
    stream = LogKeys(thread_id).stream
    ((last, _),) = await system.redis.xrevrange(stream, count=1)
    await system.redis.xdel(stream, last)


@pytest.fixture
def impatient(monkeypatch):
    """Silence soon makes streams ask whether the runs under way have ended."""
    monkeypatch.setattr(protocol_stream, "SILENCE_SECONDS", SOON_SECONDS)


@pytest.fixture
async def executor(system):
    return await system.executor().attach()


@pytest.fixture
async def thread_id(system):
    return await system.thread()


LIFE = [("lifecycle", "running"), ("values", 1), ("lifecycle", "completed")]


async def test_events_are_numbered_without_gaps_over_all_runs(system, executor, thread_id):
    call = follow(system, thread_id)
    assert await replayed(call) == []
    first = await run_once(system, executor, thread_id, values(1))
    second = await run_once(system, executor, thread_id, values(1))
    live = await take(call, 6)
    call.cancel()
    assert told(live) == LIFE + LIFE
    assert numbers(live) == [1, 2, 3, 4, 5, 6]
    assert runs_of(live) == [first, second]
    assert await position(system, thread_id) == 6
    again = await past(system, thread_id)
    assert named(again) == named(live), "the same in every connection"
    assert again[0].event_id == f"synth:{first}:lc||running"
    assert again[1].event_id == again[1].id
    assert [each.timestamp_ms for each in again[1::3]] == [AT, AT]


async def test_a_filtered_stream_has_gaps(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1), ("updates", {"n": 1}, AT), values(2))
    assert numbers(await past(system, thread_id, "values")) == [2, 4]
    assert numbers(await past(system, thread_id, "lifecycle", "updates")) == [1, 3, 5]


async def test_an_event_of_several_selections_comes_once(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1), ("values|child:1", {"n": 2}, AT))
    request = runs_pb2.FollowThreadRequest(
        thread_id=thread_id,
        selections=[
            runs_pb2.Selection(channels=["values"]),
            runs_pb2.Selection(channels=["values", "lifecycle"], namespaces=[runs_pb2.Namespace(segments=["child"])]),
        ],
    )
    call = system.runs.FollowThread(request)
    assert told(await replayed(call)) == [("values", 1), ("values", 2)]
    call.cancel()


async def test_the_graph_of_a_run_is_told(system, executor, thread_id):
    run = await system.create(thread_id, stream_resumable=True)
    assignment = await executor.assignment()
    await executor.finish(assignment, result=ERROR, error_json=b'{"message":"bad value"}')
    end = (await past(system, thread_id, "lifecycle"))[-1]
    assert orjson.loads(end.data_json) == {"event": "failed", "graph_name": "echo", "error": "bad value"}
    assert end.event_id == f"synth:{run.run_id}:lc||failed"


async def test_the_first_message_comes_at_once_and_the_live_marker_after_the_past(system, executor, thread_id):
    call = follow(system, thread_id)
    first, second = await call.read(), await call.read()
    assert (list(first.batch.events), first.live) == ([], False)
    assert (list(second.batch.events), second.live) == ([], True)
    await run_once(system, executor, thread_id, values(1))
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await call.read()).live
    call.cancel()

    later = follow(system, thread_id)
    assert not (await later.read()).live
    assert numbers(await replayed(later)) == [1, 2, 3]
    later.cancel()


async def test_the_live_marker_comes_also_if_nothing_of_the_past_is_wanted(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    assert await past(system, thread_id, "tools") == []


async def test_a_long_past_is_told_before_the_marker(system, executor, thread_id):
    """More than the pages that are read at once."""
    await system.create(thread_id, stream_resumable=True)
    assignment = await executor.assignment()
    async with executor.reporting(assignment) as report:
        for n in range(60):
            await report.send(values(n))
        assert told(await past(system, thread_id, "values")) == [("values", n) for n in range(60)]


async def test_the_thread_need_not_exist(system, executor):
    thread_id = new_id()
    assert await position(system, thread_id) == 0
    call = follow(system, thread_id)
    assert await replayed(call) == []
    run = await system.create(thread_id, stream_resumable=True, create_thread_if_missing=True)
    await executor.finish(await executor.assignment(), values(1), **RESTING)
    assert [(each.seq, each.run_id) for each in await take(call, 3)] == [(n, run.run_id) for n in (1, 2, 3)]
    call.cancel()


async def test_since(system, executor, thread_id):
    for _ in range(2):
        await run_once(system, executor, thread_id, values(1))
    for since in range(7):
        assert numbers(await past(system, thread_id, since=since)) == list(range(since + 1, 7))
    assert numbers(await past(system, thread_id, "values", since=2)) == [5]


async def test_since_the_newest_goes_on_live(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    call = follow(system, thread_id, since=3)
    assert await replayed(call) == []
    await run_once(system, executor, thread_id, values(1))
    assert numbers(await take(call, 3)) == [4, 5, 6]
    call.cancel()


async def test_a_position_beyond_the_newest_event_counts_as_none(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    assert numbers(await past(system, thread_id, since=4)) == [1, 2, 3]


async def test_numbers_begin_anew_when_everything_is_lost(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    await expire(system, thread_id, count_too=True)
    assert await position(system, thread_id) == 0
    call = follow(system, thread_id, since=3)
    assert await replayed(call) == []
    await run_once(system, executor, thread_id, values(1))
    assert numbers(await take(call, 3)) == [1, 2, 3], "nothing is swallowed"
    call.cancel()


async def test_the_number_of_a_protocol_event_outlives_the_log(system, executor, thread_id):
    await system.create(thread_id, stream_resumable=True)
    async with executor.reporting(await executor.assignment()) as report:
        await report.send(values(1))
        await expire(system, thread_id)
        assert await position(system, thread_id) == 2


async def test_numbers_go_on_after_the_log_has_expired(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    await expire(system, thread_id)
    assert await position(system, thread_id) == 3
    call = follow(system, thread_id, since=3)
    assert await replayed(call) == []
    await run_once(system, executor, thread_id, values(1))
    assert numbers(await take(call, 3)) == [4, 5, 6]
    call.cancel()


async def test_numbers_of_other_runs_outlive_the_log_too(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    await run_once(system, executor, thread_id, ("values", {"n": 1}), resumable=False)
    await expire(system, thread_id)
    assert await position(system, thread_id) == 6


async def test_the_count_of_a_thread_is_kept_for_long_and_those_of_other_threads_not(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    assert await system.redis.ttl(LogKeys(thread_id).count) > 29 * 86_400
    other = await system.thread()
    await run_once(system, executor, other, ("values", {"n": 1}), resumable=False)
    assert not await system.redis.exists(LogKeys(other).count)


async def test_events_of_no_run_have_numbers_too(system, executor, thread_id):
    await system.runs.PublishStateUpdate(
        runs_pb2.PublishStateUpdateRequest(thread_id=thread_id, state_json=b'{"values":{}}')
    )
    await run_once(system, executor, thread_id, values(1))
    events = await past(system, thread_id)
    assert (told(events), numbers(events)) == (LIFE, [2, 3, 4])


async def test_continue_after_goes_on_where_another_stream_was(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    everything = await past(system, thread_id)
    for place, each in enumerate(everything[:-1]):
        call = follow(system, thread_id, continue_after=each.id)
        assert named(await take(call, len(everything) - place - 1)) == named(everything[place + 1 :])
        call.cancel()
    call = follow(system, thread_id, continue_after=everything[-1].id)
    assert list((await call.read()).batch.events) == []
    await run_once(system, executor, thread_id, values(1))
    assert numbers(await take(call, 3)) == [4, 5, 6]
    call.cancel()


async def test_a_continued_stream_knows_no_past(system, executor, thread_id):
    """It was there: it is shown also what is not replayed, whatever runs are under way."""
    await run_once(system, executor, thread_id, values(1))
    begin = (await past(system, thread_id))[-1].id
    await run_once(system, executor, thread_id, ("values", {"n": 2}), resumable=False)
    await system.create(thread_id, stream_resumable=True)
    async with executor.reporting(await executor.assignment()) as report:
        await report.send(values(3))
        call = follow(system, thread_id, "values", continue_after=begin)
        assert told(await take(call, 2)) == [("values", 2), ("values", 3)]
        call.cancel()


async def test_positions_of_messages_are_those_to_go_on_after(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    call = follow(system, thread_id, "tools")
    while not (message := await call.read()).live:
        pass
    call.cancel()
    assert message.position == (await past(system, thread_id))[-1].id, "also past what is not wanted"


async def test_all_that_is_kept_of_an_idle_thread_is_replayed(system, executor, thread_id):
    runs = [await run_once(system, executor, thread_id, values(1)) for _ in range(3)]
    await long_ago(system, *runs)
    events = await past(system, thread_id)
    assert (runs_of(events), told(events)) == (runs, 3 * LIFE)


async def test_of_a_busy_thread_the_runs_under_way_are_replayed(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    current = await system.create(thread_id, stream_resumable=True)
    pending = await system.create(thread_id, stream_resumable=True)
    assignment = await executor.assignment()
    async with executor.reporting(assignment) as report:
        await report.send(values(2))
        for channels in (EVERYTHING, SIGNALS):
            for replay in (runs_pb2.REPLAY_UNSPECIFIED, LAST_RUN):
                events = await past(system, thread_id, *channels, replay=replay)
                assert runs_of(events) == [current.run_id]
        call = follow(system, thread_id)
        assert numbers(await replayed(call)) == [4, 5]
        since = await past(system, thread_id, since=1)
        assert numbers(since) == [2, 3, 4, 5], "who says what it has seen gets the rest"
    await executor.finish(assignment, values(3), first_seq=2, **RESTING)
    await executor.finish(await executor.assignment(), values(4), **RESTING)
    live = await take(call, 5)
    call.cancel()
    assert numbers(live) == [6, 7, 8, 9, 10]
    assert runs_of(live) == [current.run_id, pending.run_id]


async def test_the_last_run_alone_on_demand(system, executor, thread_id):
    first, last = [await run_once(system, executor, thread_id, values(1)) for _ in range(2)]
    await long_ago(system, first, last)
    events = await past(system, thread_id, replay=LAST_RUN)
    assert (runs_of(events), numbers(events)) == ([last], [4, 5, 6])
    assert numbers(await past(system, thread_id, replay=LAST_RUN, since=1)) == [2, 3, 4, 5, 6]


async def test_who_waits_for_an_end_gets_the_last_run_if_it_is_recent(system, executor, thread_id):
    first, last = [await run_once(system, executor, thread_id, values(1)) for _ in range(2)]
    await long_ago(system, first)
    events = await past(system, thread_id, *SIGNALS)
    assert (runs_of(events), told(events)) == ([last], [LIFE[0], LIFE[2]])


async def test_who_waits_for_an_end_gets_nothing_of_runs_that_ended_long_ago(system, executor, thread_id):
    runs = [await run_once(system, executor, thread_id, values(1)) for _ in range(2)]
    await long_ago(system, *runs, ago=timedelta(seconds=3))
    call = follow(system, thread_id, *SIGNALS)
    assert await replayed(call) == []
    await run_once(system, executor, thread_id, values(1))
    live = await take(call, 2)
    call.cancel()
    assert (numbers(live), set(runs_of(live)) & set(runs)) == ([7, 9], set())
    assert numbers(await past(system, thread_id, "lifecycle")) == [1, 3, 4, 6, 7, 9], "others get all"


async def test_who_waits_for_an_end_gets_the_last_run_of_a_paused_thread(system, executor, thread_id):
    first = await run_once(system, executor, thread_id, values(1))
    last = await paused_run(system, executor, thread_id, "i1")
    await long_ago(system, first, last)
    events = await past(system, thread_id, *SIGNALS)
    assert runs_of(events) == [last]
    assert told(events) == [("lifecycle", "running"), ("input.requested", "i1"), ("lifecycle", "interrupted")]


async def test_requests_that_have_been_answered_are_not_made_again(system, executor, thread_id):
    await paused_run(system, executor, thread_id, "i1", "i2")
    answering = await run_once(system, executor, thread_id, *asks("i3"), **waiting_for("i2", "i3"))
    call = follow(system, thread_id)
    events = await replayed(call)
    assert told(events) == [
        ("lifecycle", "running"),
        ("input.requested", "i2"),
        ("lifecycle", "interrupted"),
        ("lifecycle", "running"),
        ("input.requested", "i3"),
        ("lifecycle", "interrupted"),
    ]
    assert numbers(events) == [1, 3, 4, 5, 6, 7]
    last = await run_once(system, executor, thread_id, values(1))
    assert told(await take(call, 3)) == LIFE
    call.cancel()
    events = await past(system, thread_id)
    assert [each.method for each in events].count("input.requested") == 0
    assert runs_of(events)[-2:] == [answering, last]


async def test_requests_of_the_last_run_are_kept(system, executor, thread_id):
    """Of an answered one among them the values and the end tell."""
    await run_once(system, executor, thread_id, *asks("i1"), values(1))
    assert ("input.requested", "i1") in told(await past(system, thread_id))


async def test_who_has_seen_a_request_is_told_the_rest_as_it_was(system, executor, thread_id):
    await paused_run(system, executor, thread_id, "i1", "i2")
    await run_once(system, executor, thread_id, values(1))
    assert told(await past(system, thread_id, "input", since=1)) == [
        ("input.requested", "i1"),
        ("input.requested", "i2"),
    ]


async def test_runs_that_are_not_resumable_are_seen_live_only(system, executor, thread_id):
    call = follow(system, thread_id)
    await replayed(call)
    plain = await run_once(
        system,
        executor,
        thread_id,
        ("values", {"n": 1}),
        ("messages", []),
        ("updates|child:1", {"n": 2}),
        resumable=False,
    )
    live = await take(call, 4)
    call.cancel()
    assert told(live) == [("lifecycle", "running"), ("values", 1), ("updates", 2), ("lifecycle", "completed")]
    assert numbers(live) == [1, 2, 4, 5]
    assert runs_of(live) == [plain]
    kept = await run_once(system, executor, thread_id, values(1))
    events = await past(system, thread_id)
    assert (runs_of(events), numbers(events)) == ([kept], [6, 7, 8])
    assert numbers(await past(system, thread_id, since=1)) == [6, 7, 8]


async def test_resumable_runs_of_other_kinds_are_replayed(system, executor, thread_id):
    await run_once(system, executor, thread_id, ("values", {"n": 1, "__interrupt__": []}), ("custom", "raw"))
    events = await past(system, thread_id)
    assert told(events) == [("lifecycle", "running"), ("values", 1), ("custom", "raw"), ("lifecycle", "completed")]
    assert orjson.loads(events[1].data_json) == {"n": 1}


async def test_a_deleted_run_is_not_replayed(system, executor, thread_id):
    run_id = await run_once(system, executor, thread_id, values(1))
    await system.runs.DeleteRun(runs_pb2.DeleteRunRequest(run=runs_pb2.RunRef(run_id=run_id)))
    assert await past(system, thread_id) == []


async def test_a_paused_thread_without_a_log_tells_what_it_waits_for(system, executor, thread_id):
    run_id = await paused_run(system, executor, thread_id, "i1", "i2")
    original = await past(system, thread_id)
    await long_ago(system, run_id)
    await expire(system, thread_id, count_too=True)
    for channels in (EVERYTHING, SIGNALS):
        events = await past(system, thread_id, *channels)
        assert told(events) == [
            ("lifecycle", "running"),
            ("input.requested", "i1"),
            ("input.requested", "i2"),
            ("lifecycle", "interrupted"),
        ]
        assert [each.event_id for each in events] == [each.event_id for each in original], "clients know them again"
        assert [each.data_json for each in events] == [each.data_json for each in original]
        assert {(each.id, each.seq, each.run_id) for each in events} == {("", 0, run_id)}
    assert told(await past(system, thread_id, "input")) == [("input.requested", "i1"), ("input.requested", "i2")]
    assert await past(system, thread_id, "values") == []


async def test_after_what_a_paused_thread_waits_for_the_stream_goes_on(system, executor, thread_id):
    await paused_run(system, executor, thread_id, "i1")
    await expire(system, thread_id)
    call = follow(system, thread_id)
    assert len(await replayed(call)) == 3
    await run_once(system, executor, thread_id, values(1))
    assert told(await take(call, 3)) == LIFE
    call.cancel()


async def test_who_has_seen_the_last_event_knows_what_a_paused_thread_waits_for(system, executor, thread_id):
    await paused_run(system, executor, thread_id, "i1")
    await expire(system, thread_id)
    newest = await position(system, thread_id)
    assert await past(system, thread_id, since=newest) == []
    events = await past(system, thread_id, since=newest - 1)
    assert numbers(events) == 3 * [newest]


async def test_a_thread_that_waits_for_nothing_tells_nothing_without_its_log(system, executor, thread_id):
    await run_once(system, executor, thread_id, values(1))
    await expire(system, thread_id)
    assert await past(system, thread_id) == []


async def test_a_run_that_is_cancelled_before_it_begins_is_told_of(system, executor, thread_id):
    await system.create(thread_id, stream_resumable=True)
    assignment = await executor.assignment()
    pending = await system.create(thread_id, stream_resumable=True)
    call = follow(system, thread_id, *SIGNALS)
    await replayed(call)
    await system.runs.CancelRuns(runs_pb2.CancelRunsRequest(run_ids=[pending.run_id]))
    (end,) = await take(call, 1)
    assert (end.run_id, end.event_id) == (pending.run_id, f"synth:{pending.run_id}:lc||interrupted")
    assert orjson.loads(end.data_json) == {"event": "interrupted", "graph_name": "echo"}
    await executor.finish(assignment, values(1), **RESTING)
    assert [each.run_id for each in await take(call, 2)] == 2 * [assignment.fence.run_id]
    call.cancel()


@pytest.mark.parametrize("action", [runs_pb2.CANCEL_ACTION_INTERRUPT, runs_pb2.CANCEL_ACTION_ROLLBACK])
async def test_a_cancelled_run_ends_interrupted(system, executor, thread_id, action):
    run = await system.create(thread_id, stream_resumable=True)
    assignment = await executor.assignment()
    call = follow(system, thread_id, "lifecycle")
    await replayed(call)
    await system.runs.CancelRuns(runs_pb2.CancelRunsRequest(run_ids=[run.run_id], action=action))
    await executor.expect("cancel")
    await executor.finish(assignment, values(1), result=executors_pb2.Outcome.RESULT_CANCELLED, **RESTING)
    assert told(await take(call, 2)) == [("lifecycle", "running"), ("lifecycle", "interrupted")]
    call.cancel()


async def ended_unheard(system, executor, thread_id, result=SUCCESS, **outcome):
    """A run whose begin Redis has told of and whose end it has not."""
    run = await system.create(thread_id, stream_resumable=True)
    assignment = await executor.assignment()
    async with executor.reporting(assignment) as report:
        await report.send(values(1))
        await lose_what_comes(system, thread_id)
        await report.send_outcome(executors_pb2.Outcome(result=result, **(RESTING | outcome)))
        await report.outcome_acked()
    return run.run_id


@pytest.mark.parametrize(("result", "end"), [(SUCCESS, "completed"), (ERROR, "failed")])
async def test_an_end_that_redis_has_lost_is_told_by_postgres(system, executor, thread_id, impatient, result, end):
    call = follow(system, thread_id)
    await replayed(call)
    run_id = await ended_unheard(system, executor, thread_id, result=result)
    events = await take(call, 3)
    call.cancel()
    assert told(events) == [*LIFE[:2], ("lifecycle", end)]
    made_up = events[-1]
    assert (made_up.event_id, made_up.id, made_up.seq) == (f"synth:{run_id}:lc||{end}", "", 2)
    assert orjson.loads(made_up.data_json)["graph_name"] == "echo"


async def test_a_lost_end_is_told_once_and_only_to_whom_it_concerns(system, executor, thread_id, impatient):
    await run_once(system, executor, thread_id, values(1))
    await drop_last_batch(system, thread_id)
    signals, data = follow(system, thread_id, *SIGNALS), follow(system, thread_id, "values")
    assert told(await take(signals, 2)) == [LIFE[0], LIFE[2]]
    assert told(await replayed(data)) == [LIFE[1]]
    reading = [asyncio.create_task(call.read()) for call in (signals, data)]
    _, waiting = await asyncio.wait(reading, timeout=1 + 3 * SOON_SECONDS)
    assert len(waiting) == 2
    for call in (signals, data):
        call.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


async def test_a_deleted_run_whose_end_is_lost_ends_interrupted(system, executor, thread_id, impatient):
    call = follow(system, thread_id, "lifecycle")
    await replayed(call)
    await system.create(thread_id, stream_resumable=True)
    assignment = await executor.assignment()
    async with executor.reporting(assignment) as report:
        await report.send(values(1))
        assert told(await take(call, 1)) == [LIFE[0]]
        await lose_what_comes(system, thread_id)
        await system.sql.execute("DELETE FROM runs.run WHERE run_id = $1", assignment.fence.run_id)
    assert told(await take(call, 1)) == [("lifecycle", "interrupted")]
    call.cancel()


async def test_a_silent_run_goes_on(system, executor, thread_id, impatient):
    call = follow(system, thread_id, *SIGNALS)
    await replayed(call)
    await system.create(thread_id, stream_resumable=True)
    assignment = await executor.assignment()
    async with executor.reporting(assignment) as report:
        await report.send(values(1))
        assert told(await take(call, 1)) == [LIFE[0]]
        reading = asyncio.create_task(call.read())
        _, waiting = await asyncio.wait({reading}, timeout=1 + 3 * SOON_SECONDS)
        assert waiting
    await executor.finish(assignment, values(2), first_seq=2, **RESTING)
    assert told((await reading).batch.events) == [LIFE[2]]
    call.cancel()


async def test_a_lost_end_of_a_paused_run_is_told_as_such(system, executor, thread_id, impatient):
    call = follow(system, thread_id, "lifecycle")
    await replayed(call)
    await ended_unheard(system, executor, thread_id, **waiting_for("i1"))
    assert told(await take(call, 2))[-1] == ("lifecycle", "interrupted")
    call.cancel()


async def test_a_lost_end_has_its_moment(system, executor, thread_id, impatient):
    call = follow(system, thread_id, "lifecycle")
    await replayed(call)
    await ended_unheard(system, executor, thread_id)
    assert (await take(call, 2))[-1].timestamp_ms > AT
    call.cancel()


async def blocked(system):
    """Waits until a query waits for a lock."""

    async def waiting():
        return await system.sql.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    await until(waiting)


async def test_a_slow_look_into_postgres_loses_no_events(system, executor, thread_id, impatient):
    await run_once(system, executor, thread_id, values(1))
    async with system.sql.transaction():
        await system.sql.execute("LOCK TABLE runs.run IN ACCESS EXCLUSIVE MODE")
        call = follow(system, thread_id, since=1)  # who says so gets the rest, whatever the last run is
        await blocked(system)  # asks whether the run is resumable
        await asyncio.sleep(2 * SOON_SECONDS)
    events = await replayed(call)
    call.cancel()
    assert told(events) == LIFE[1:]


async def test_redis_that_fails_in_a_replay_does_not_end_it(start_system):
    system = await start_system(redis_timeout_seconds=0.3)
    executor, thread_id = await system.executor().attach(), await system.thread()
    await run_once(system, executor, thread_id, ("values", {"n": 1}), resumable=False)
    await run_once(system, executor, thread_id, values(2))
    async with system.sql.transaction():
        await system.sql.execute("LOCK TABLE runs.run IN ACCESS EXCLUSIVE MODE")
        call = follow(system, thread_id, "values")
        await blocked(system)  # asks for the last run: the log has been looked at, and is to be read next
        await system.redis.execute_command("CLIENT", "PAUSE", "700", "ALL")
    events = await replayed(call)
    call.cancel()
    assert told(events) == [("values", 2)]


async def test_nobody_waits_long_for_the_position(start_system):
    """0 says nothing."""
    system = await start_system()
    thread_id = await system.thread()
    await system.runs.PublishStateUpdate(runs_pb2.PublishStateUpdateRequest(thread_id=thread_id, state_json=b"{}"))
    await system.redis.execute_command("CLIENT", "PAUSE", "2000", "ALL")
    assert await position(system, thread_id) == 0


async def test_a_stream_that_redis_fails_at_its_begin_can_be_tried_again(start_system, monkeypatch):
    monkeypatch.setattr(protocol_stream, "SIGNAL_SECONDS", 0.5)
    system = await start_system(redis_timeout_seconds=0.3)
    call = follow(system, await system.thread(), *SIGNALS)
    await call.read()
    await system.redis.execute_command("CLIENT", "PAUSE", "1200", "ALL")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await replayed(call)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_two_replicas_tell_the_same(system, executor, thread_id):
    other = runs_pb2_grpc.RunsStub(await system.start_replica())
    calls = [follow(system, thread_id, stub=stub) for stub in (system.runs, other)]
    for call in calls:
        await replayed(call)
    await run_once(system, executor, thread_id, values(1), *asks("i1"), ("values|child:1", {"n": 2}, AT), values(3))
    await run_once(system, executor, thread_id, values(1))
    live = [await take(call, 9) for call in calls]
    for call in calls:
        call.cancel()
    assert live[0] == live[1]
    assert numbers(live[0]) == list(range(1, 10))
    again = [await past(system, thread_id, stub=stub) for stub in (system.runs, other)]
    answered = [each for each in live[0] if each.method == "input.requested"]
    assert again[0] == again[1] == [each for each in live[0] if each not in answered]


async def test_another_replica_continues_a_stream(system, executor, thread_id):
    other = runs_pb2_grpc.RunsStub(await system.start_replica())
    call = follow(system, thread_id)
    await replayed(call)
    await run_once(system, executor, thread_id, values(1))
    seen = await take(call, 3)
    call.cancel()
    going_on = follow(system, thread_id, stub=other, continue_after=seen[-1].id)
    await run_once(system, executor, thread_id, values(1))
    assert numbers(await take(going_on, 3)) == [4, 5, 6]
    going_on.cancel()


@pytest.mark.parametrize("selections", [[], [runs_pb2.Selection()], [runs_pb2.Selection(channels=["bogus"])]])
async def test_bad_selections_are_refused(system, selections):
    request = runs_pb2.FollowThreadRequest(thread_id=new_id(), selections=selections)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await system.runs.FollowThread(request).read()
    assert reason_of(refused.value) == "INVALID_ARGUMENT"


@pytest.mark.parametrize("thread_id", ["", "no uuid"])
async def test_bad_threads_are_refused(system, thread_id):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await follow(system, thread_id).read()
    assert reason_of(refused.value) == "INVALID_ARGUMENT"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await position(system, thread_id)
    assert reason_of(refused.value) == "INVALID_ARGUMENT"
