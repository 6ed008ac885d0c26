"""Event ids as text, the events that stream modes select, and how a stream without its end ends."""

import asyncio

import pytest
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_runs.events import follow as follow_module
from threadmill_runs.events.follow import follow, mode_filter
from threadmill_runs.events.log import END_EVENT, EventId


@pytest.mark.parametrize("text", ["0-0", "1-2", "1767225600000-15"])
def test_ids_survive_their_text(text):
    assert str(EventId.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "-", "-1", "1", "1-", "-1-1", "1--1", "a-1", "1-1-1", " 1-1", "1.5-1", f"{2**64}-0", f"0-{2**64}"]
)
def test_garbage_is_no_id(text):
    assert EventId.parse(text) is None


def test_ids_are_ordered_by_number():
    texts = ["9-9", "9-10", "10-0", "10-2", "100-1"]
    assert [str(each) for each in sorted(map(EventId.parse, reversed(texts)))] == texts


@pytest.mark.parametrize(
    ("modes", "name", "passes"),
    [
        ([], "metadata", True),
        (["values"], "values", True),
        (["values"], "values|child:1|grandchild:2", True),
        (["values"], "updates", False),
        (["values"], "metadata", False),
        (["values"], "error", True),
        (["messages"], "messages/partial", True),
        (["messages"], "messages", True),
        (["messages-tuple"], "messages|child:1", True),
        (["messages-tuple"], "messages/partial", False),
        (["updates", "custom"], "custom", True),
        (["nonsense"], "values", False),
    ],
)
def test_mode_filter(modes, name, passes):
    assert mode_filter(modes)(runs_pb2.Event(name=name)) is passes


class ScriptedSubscription:
    """Gives batches; an empty one is silence."""

    def __init__(self, *batches):
        self._batches = list(batches)
        self.confirmed = 0
        self.behind = False

    async def next_events(self, timeout):
        await asyncio.sleep(0)
        return self._batches.pop(0)

    def confirm(self):
        self.confirmed += 1


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    """Every batch without an event of the run is silence enough to ask whether it has ended."""
    monkeypatch.setattr(follow_module, "SILENCE_SECONDS", 0.0)


def event(name, run_id="run"):
    return runs_pb2.Event(name=name, run_id=run_id)


async def followed(subscription, *active):
    answers = list(active)

    async def is_active(run_id):
        assert run_id == "run"
        return answers.pop(0)

    return [each.name async for batch in follow(subscription, "run", is_active) for each in batch]


async def test_follow_ends_with_the_end_event():
    subscription = ScriptedSubscription([event("a"), event("b", "other")], [], [event(END_EVENT)])
    assert await followed(subscription, True) == ["a", END_EVENT]


async def test_follow_looks_once_more_when_postgres_says_that_the_run_has_ended():
    subscription = ScriptedSubscription([], [event("late"), event(END_EVENT)])
    assert await followed(subscription, False) == ["late", END_EVENT]
    assert subscription.confirmed == 1
    assert await followed(ScriptedSubscription([event("a")], [], []), False) == ["a"]
