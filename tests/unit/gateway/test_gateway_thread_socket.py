"""The thread-streaming protocol over WebSocket, through a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
from threadmill_chassis.errors import InvalidArgument, Unavailable
from threadmill_gateway import responses
from threadmill_gateway.context import Gateway
from threadmill_gateway.routes.streams import begin
from threadmill_gateway.settings import GatewaySettings
from threadmill_gateway.thread_protocol import following
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import InvalidStatus

from .gateway_script import (
    RUN_ID,
    THREAD_ID,
    Script,
    followed,
    live_client,
    open_gateway,
    protocol_event,
    run_row,
    scripted_services,
    thread_row,
)

EVENTS = f"/threads/{THREAD_ID}/stream/events"
AGENT_EVENTS = f"/threads/{THREAD_ID}/stream"
SECONDS = 5
NEVER = 3600.0
NO_RUN = "No active run is bound to this thread."
Event = runs_pb2.ProtocolEvent


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends are not held back, and a replica that goes is replaced at once."""
    monkeypatch.setattr(following, "SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(following, "SIGNAL_SECONDS", 0.0)
    monkeypatch.setattr(responses, "REJOIN_SECONDS", 0.0)


def lifecycle(seq: int, what: str, *namespace: str) -> Event:
    data = orjson.dumps({"event": what, "graph_name": namespace[-1] if namespace else "steps"})
    return protocol_event(seq, "lifecycle", data, namespace=namespace)


def request_of(seq: int, interrupt_id: str, *namespace: str) -> Event:
    data = orjson.dumps({"interrupt_id": interrupt_id, "payload": "one?"})
    return protocol_event(seq, "input.requested", data, namespace=namespace)


class Log:
    """A thread as the runs api has it: what it has had, and what comes. Its last run begins at the event `last_run`."""

    def __init__(self, *events: Event, last_run: int = 1) -> None:
        self.events = list(events)
        self.last_run = last_run
        self.asked: list[runs_pb2.FollowThreadRequest] = []
        self.followers = 0
        # Happens between the kept events of a call and the moment when it is asked for more.
        self.meanwhile: list[Event] = []
        self._cut = False
        self._changed = asyncio.Condition()

    async def add(self, *events: Event) -> None:
        """Happens now."""
        async with self._changed:
            self.events.extend(events)
            self._changed.notify_all()

    async def lose_replica(self) -> None:
        """Every call that is under way breaks."""
        async with self._changed:
            self._cut = True
            self._changed.notify_all()

    async def followers_are(self, number: int) -> None:
        """Returns once so many calls are under way."""
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(lambda: self.followers == number)

    async def calls_are(self, number: int) -> None:
        """Returns once it was asked so many times."""
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(lambda: len(self.asked) == number)

    async def __call__(self, request: runs_pb2.FollowThreadRequest) -> AsyncIterator[runs_pb2.FollowThreadResponse]:
        assert request.thread_id == THREAD_ID
        self.asked.append(request)
        await self._count(1)
        try:
            yield followed(position=request.continue_after or "0-0")
            if not request.continue_after:
                last_run_only = request.replay == runs_pb2.REPLAY_LAST_RUN
                since = max(request.since, self.last_run - 1 if last_run_only else 0)
                self.events += self.meanwhile
                kept = [event for event in self.events if event.seq > since and wanted(request, event)]
                self.meanwhile = []
                yield followed(*kept, position=self._position(), live=True)
                at = len(self.events)
            else:
                at = int(request.continue_after.partition("-")[2])
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda at=at: self._cut or len(self.events) > at)
                    if self._cut:
                        self._cut = False
                        raise Unavailable("gone")
                    fresh, at = self.events[at:], len(self.events)
                yield followed(*(event for event in fresh if wanted(request, event)), position=self._position())
        finally:
            await self._count(-1)

    def _position(self) -> str:
        return self.events[-1].id if self.events else "0-0"

    async def _count(self, change: int) -> None:
        async with self._changed:
            self.followers += change
            self._changed.notify_all()


def wanted(request: runs_pb2.FollowThreadRequest, event: Event) -> bool:
    channel = event.method.removesuffix(".requested")
    return any(channel in selection.channels for selection in request.selections)


class Talk:
    """One client's side of a socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._ids = count(1)

    async def next(self) -> Any:
        """The next message, whatever it is."""
        async with asyncio.timeout(SECONDS):
            return orjson.loads(await self.socket.recv())

    async def events(self, number: int) -> list[int]:
        """The numbers of the next events, of which there are so many."""
        found = [await self.next() for _ in range(number)]
        assert {message["type"] for message in found} <= {"event"}, found
        return [event["seq"] for event in found]

    async def say(self, method: str, **params: Any) -> tuple[list[int], Any]:
        """The numbers of the events that come before the answer to a command, and the answer."""
        command_id = next(self._ids)
        await self.socket.send(orjson.dumps({"id": command_id, "method": method, "params": params}).decode())
        seqs: list[int] = []
        while (message := await self.next())["type"] == "event":
            seqs.append(message["seq"])
        assert message.pop("id") == command_id
        return seqs, message

    async def ask(self, method: str, **params: Any) -> Any:
        """The answer to a command before which no event comes."""
        seqs, answer = await self.say(method, **params)
        assert seqs == []
        return answer

    async def subscribe(self, *channels: str, **params: Any) -> tuple[list[int], str]:
        """The events that come with a new subscription, and its id."""
        seqs, answer = await self.say("subscription.subscribe", channels=channels, **params)
        assert answer["type"] == "success", answer
        assert answer["result"]["replayed_events"] == len(seqs)
        return seqs, answer["result"]["subscription_id"]

    async def follows(self, log: Log) -> None:
        """Returns once an event has come, as it happened, to a socket that has subscribed to values."""
        seq = len(log.events) + 1
        await log.add(protocol_event(seq))
        assert await self.events(1) == [seq]

    async def closed(self) -> int:
        """The code with which the server closes."""
        async with asyncio.timeout(SECONDS):
            await self.socket.wait_closed()
        assert self.socket.close_code is not None
        return self.socket.close_code


@asynccontextmanager
async def talking(folder: Path, path: str = EVENTS, **how: Any) -> AsyncIterator[Talk]:
    """A socket to the server that listens in the folder."""
    address = {"path": str(folder / "http.sock"), "uri": f"ws://gateway{path}"}
    async with unix_connect(**address, compression=None, **how) as socket:
        yield Talk(socket)


Connect = Callable[..., AbstractAsyncContextManager[Talk]]


@pytest.fixture
async def connect(live: httpx.AsyncClient, tmp_path: Path) -> Connect:
    """`connect(path=…)` opens a socket to the gateway."""

    def open_socket(path: str = EVENTS, **how: Any) -> AbstractAsyncContextManager[Talk]:
        return talking(tmp_path, path, **how)

    return open_socket


@asynccontextmanager
async def serving(gateway: Gateway, folder: Path, **changes: Any) -> AsyncIterator[Gateway]:
    """Another gateway, with other settings."""
    settings = gateway.settings.model_copy(update=changes)
    async with open_gateway(settings) as opened, live_client(opened, folder):
        yield opened


async def refused(folder: Path, path: str = EVENTS, **how: Any) -> tuple[int, bytes]:
    """Status and body of a refused upgrade."""
    with pytest.raises(InvalidStatus) as refusal:
        async with talking(folder, path, **how):
            pass
    response = refusal.value.response
    return response.status_code, bytes(response.body)


def thread(script: Script, *events: Event, **how: Any) -> Log:
    """What sockets follow."""
    log = Log(*events, **how)
    script.on(FollowThread=log)
    return log


RUN = (lifecycle(1, "running"), protocol_event(2), lifecycle(3, "completed"))


def success(seq: int = 0, **result: Any) -> dict[str, Any]:
    return {"type": "success", "result": result, "meta": {"applied_through_seq": seq}}


def error(code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": code, "message": message}


# --- subscriptions


@pytest.mark.parametrize("path", [EVENTS, AGENT_EVENTS, EVENTS.replace(THREAD_ID, THREAD_ID.upper())])
async def test_the_first_subscription_gets_the_past_then_its_answer_then_what_comes(
    connect: Connect, script: Script, path: str
) -> None:
    log = thread(script, *RUN)
    async with connect(path) as talk:
        seqs, answer = await talk.say("subscription.subscribe", channels=["values", "lifecycle"])
        assert seqs == [1, 2, 3]
        assert answer["result"].pop("subscription_id")
        assert answer == success(3, replayed_events=3)
        await log.add(lifecycle(4, "running"), protocol_event(5))
        await log.add(lifecycle(6, "completed"))
        assert await talk.events(3) == [4, 5, 6]


async def test_events_are_those_of_http(connect: Connect, script: Script) -> None:
    thread(script, protocol_event(1, "values", b'{"a":"\xc3\xa9"}', namespace=["child:1"]))
    async with connect() as talk:
        command = {"id": 1, "method": "subscription.subscribe", "params": {"channels": ["values"]}}
        await talk.socket.send(orjson.dumps(command).decode())
        assert await talk.socket.recv() == (
            '{"type":"event","event_id":"7-1","seq":1,"method":"values","params":{"namespace":["child:1"],'
            '"timestamp":1790000000123,"data":{"a":"é"}}}'
        )


async def test_a_subscription_to_what_does_not_exist_yet(connect: Connect, script: Script) -> None:
    log = thread(script)
    async with connect() as talk:
        assert (await talk.subscribe("values"))[0] == []
        await log.add(protocol_event(1))
        assert await talk.events(1) == [1]


async def test_without_a_subscription_nothing_is_followed(connect: Connect, script: Script) -> None:
    thread(script, *RUN)
    async with connect() as talk:
        answer = await talk.ask("subscription.unsubscribe", subscription_id="x")
        assert answer == error("no_such_subscription", "Unknown subscription: x")
    assert script.asked == []


async def test_what_the_runs_api_is_asked(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as talk:
        await talk.subscribe("values", namespaces=[["a"]], depth=2, since=1)
        await log.calls_are(2)
        await talk.subscribe("lifecycle", namespaces="bad", depth=True, since="bad")
        await log.calls_are(4)
    first, live, second, both = log.asked
    values = runs_pb2.Selection(channels=["values"], namespaces=[runs_pb2.Namespace(segments=["a"])], depth=2)
    signals = runs_pb2.Selection(channels=["lifecycle"])
    about = {"thread_id": THREAD_ID}
    assert first == runs_pb2.FollowThreadRequest(selections=[values], since=1, **about)
    assert live == runs_pb2.FollowThreadRequest(selections=[values], continue_after="7-3", **about)
    last_run = runs_pb2.REPLAY_LAST_RUN
    assert second == runs_pb2.FollowThreadRequest(selections=[signals], replay=last_run, **about)
    assert both == runs_pb2.FollowThreadRequest(selections=[values, signals], continue_after="7-3", **about)


async def test_a_subscription_goes_on_after_a_number(connect: Connect, script: Script) -> None:
    thread(script, *RUN)
    async with connect() as talk:
        assert (await talk.subscribe("values", "lifecycle", since=2))[0] == [3]


async def test_a_later_subscription_gets_the_last_run_even_if_another_has_shown_it(
    connect: Connect, script: Script
) -> None:
    thread(script, *RUN, lifecycle(4, "running"), protocol_event(5), lifecycle(6, "completed"), last_run=4)
    async with connect() as talk:
        assert (await talk.subscribe("values", "lifecycle"))[0] == [1, 2, 3, 4, 5, 6]
        assert (await talk.subscribe("values"))[0] == [5]


async def test_what_several_subscriptions_want_comes_once(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as talk:
        await talk.subscribe("values", "lifecycle")
        await talk.subscribe("values")
        await log.add(protocol_event(4), protocol_event(5, "updates"), lifecycle(6, "running"))
        assert await talk.events(2) == [4, 6]


async def test_a_later_subscription_gets_only_what_the_others_have_passed(connect: Connect, script: Script) -> None:
    """What comes while it is asked for comes later, in order, and once."""
    log = thread(script, *RUN)
    async with connect() as talk:
        assert (await talk.subscribe("lifecycle"))[0] == [1, 3]
        log.meanwhile = [protocol_event(4), lifecycle(5, "running"), protocol_event(6)]
        assert (await talk.subscribe("values"))[0] == [2]
        await log.add(protocol_event(7))
        assert await talk.events(4) == [4, 5, 6, 7]


async def test_an_end_that_is_held_back_is_not_lost_to_a_new_subscription(
    connect: Connect, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = thread(script)
    async with connect() as talk:
        monkeypatch.setattr(following, "SETTLING_SECONDS", NEVER)
        await talk.subscribe("values", "lifecycle")
        await log.followers_are(1)
        await log.add(*RUN)
        assert await talk.events(2) == [1, 2]
        monkeypatch.setattr(following, "SETTLING_SECONDS", 0.0)
        assert (await talk.subscribe("values"))[0] == [2]
        assert await talk.events(1) == [3]


async def test_events_go_on_while_a_command_takes_its_time(connect: Connect, script: Script) -> None:
    log, done = thread(script), asyncio.Event()

    async def slow(_: Any) -> AsyncIterator[Any]:
        yield runs_pb2.WaitRunResponse(run=run_row())
        await done.wait()
        yield runs_pb2.WaitRunResponse(outcome=runs_pb2.WaitRunResponse.Outcome(body_json=b"{}"))

    def row(_: Any) -> threads_pb2.Thread:
        return thread_row() if done.is_set() else thread_row(state=threads_pb2.THREAD_STATE_BUSY)

    script.on(GetThread=row, ListRuns=runs_pb2.ListRunsResponse(runs=[run_row()]), WaitRun=slow, CreateRun=run_row())
    script.on(GetThreadPosition=runs_pb2.ThreadPosition(seq=9))
    async with connect() as talk:
        await talk.subscribe("values")
        starting = asyncio.create_task(talk.say("run.start", assistant_id="steps", input={"n": 1}))
        await log.add(protocol_event(1))
        await log.add(protocol_event(2))
        await log.followers_are(1)
        while "WaitRun" not in script.names():  # noqa: ASYNC110 - the script notes calls, it does not tell of them
            await asyncio.sleep(0.01)
        done.set()
        assert await starting == ([1, 2], success(2, run_id=RUN_ID))


async def test_sockets_do_not_see_each_others_subscriptions(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as one, connect() as other:
        assert (await one.subscribe("values"))[0] == [2]
        assert (await other.subscribe("lifecycle"))[0] == [1, 3]
        await log.add(protocol_event(4), lifecycle(5, "running"))
        assert (await one.events(1), await other.events(1)) == ([4], [5])


async def test_a_subscription_that_ends_leaves_the_others(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as talk:
        await talk.subscribe("lifecycle")
        _, values = await talk.subscribe("values")
        assert await talk.ask("subscription.unsubscribe", subscription_id=values) == success(3)
        await log.add(protocol_event(4), lifecycle(5, "running"))
        assert await talk.events(1) == [5]


async def test_after_the_last_subscription_nothing_is_followed(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as talk:
        _, values = await talk.subscribe("values")
        await talk.follows(log)
        assert await talk.ask("subscription.unsubscribe", subscription_id=values) == success(4)
        await log.followers_are(0)
        answer = await talk.ask("subscription.unsubscribe", subscription_id=values)
        assert answer == error("no_such_subscription", f"Unknown subscription: {values}")


async def test_who_subscribes_again_has_missed_something(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as talk:
        _, values = await talk.subscribe("values")
        await talk.ask("subscription.unsubscribe", subscription_id=values)
        await log.add(protocol_event(4))
        assert (await talk.subscribe("values"))[0] == [2, 4]
        await log.add(protocol_event(5))
        assert await talk.events(1) == [5]


async def test_reconnect_goes_on_after_a_number_under_the_clients_own_id(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as talk:
        params = {"channels": ["values", "lifecycle"], "since": 2, "subscription_id": "mine"}
        seqs, answer = await talk.say("subscription.reconnect", **params)
        assert seqs == [3]
        assert answer == success(3, subscription_id="mine", replayed_events=1)
        await log.add(protocol_event(4))
        assert await talk.events(1) == [4]
        assert await talk.ask("subscription.unsubscribe", subscription_id="mine") == success(4)


@pytest.mark.parametrize("named", [{}, {"subscription_id": 5}, {"subscription_id": ""}])
async def test_reconnect_without_an_id_makes_one(connect: Connect, script: Script, named: dict[str, Any]) -> None:
    thread(script, *RUN)
    async with connect() as talk:
        seqs, answer = await talk.say("subscription.reconnect", channels=["values"], since=0, **named)
        assert seqs == [2]
        assert len(answer["result"]["subscription_id"]) == 36


def invalid(message: str) -> dict[str, Any]:
    return error("invalid_argument", message)


WITHOUT_SINCE = invalid("subscription.reconnect requires a non-negative integer since.")
WITHOUT_CHANNELS = invalid("subscription.subscribe requires a non-empty channels array.")
WITHOUT_ID = invalid("subscription.unsubscribe requires a subscription_id.")
BAD_SUBSCRIPTIONS = [
    ("subscription.subscribe", {}, WITHOUT_CHANNELS),
    (
        "subscription.subscribe",
        {"channels": []},
        invalid("subscription.subscribe requires a non-empty channels array."),
    ),
    (
        "subscription.subscribe",
        {"channels": ["bogus"]},
        invalid("subscription.subscribe received an unsupported channel."),
    ),
    ("subscription.reconnect", {"since": 1}, invalid("subscription.reconnect requires a non-empty channels array.")),
    ("subscription.reconnect", {"channels": ["values"]}, WITHOUT_SINCE),
    ("subscription.reconnect", {"channels": ["values"], "since": "x"}, WITHOUT_SINCE),
    ("subscription.reconnect", {"channels": ["values"], "since": -1}, WITHOUT_SINCE),
    ("subscription.unsubscribe", {}, WITHOUT_ID),
    (
        "subscription.unsubscribe",
        {"subscription_id": 5},
        invalid("subscription.unsubscribe requires a subscription_id."),
    ),
]


async def test_subscriptions_that_make_no_sense_leave_the_others(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as talk:
        await talk.subscribe("values")
        for method, params, answer in BAD_SUBSCRIPTIONS:
            assert await talk.ask(method, **params) == answer
        await log.add(protocol_event(4))
        assert await talk.events(1) == [4]


async def test_a_subscription_that_the_service_refuses_leaves_the_others(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)

    async def picky(request: runs_pb2.FollowThreadRequest) -> AsyncIterator[Any]:
        if request.selections[0].channels == ["tools"]:
            raise InvalidArgument("no tools")
        async for message in log(request):
            yield message

    script.on(FollowThread=picky)
    async with connect() as talk:
        answer = await talk.ask("subscription.subscribe", channels=["tools"])
        assert answer == error("unknown_error", "422: no tools")
        await talk.subscribe("values")
        assert await talk.ask("subscription.subscribe", channels=["tools"]) == error("unknown_error", "422: no tools")
        await log.add(protocol_event(4))
        assert await talk.events(1) == [4]


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([], id="at once"),
        pytest.param([followed(position="0-0")], id="before it is live"),
    ],
)
async def test_a_subscription_whose_stream_ends_is_an_error(
    connect: Connect, script: Script, messages: list[Any]
) -> None:
    script.on(FollowThread=messages)
    async with connect() as talk:
        answer = await talk.ask("subscription.subscribe", channels=["values"])
        assert answer["error"] == "unknown_error"
        assert answer["message"].startswith("50")
        assert await talk.ask("bogus") == error("unknown_command", "Unknown protocol command: bogus")


# --- trees


async def test_the_tree_of_the_last_run(connect: Connect, script: Script) -> None:
    log = thread(script)
    async with connect() as talk:
        assert await talk.ask("agent.getTree") == error("no_such_run", NO_RUN)
        await log.add(*RUN, lifecycle(4, "running"), lifecycle(5, "started", "mid:1"))
        await log.add(lifecycle(6, "started", "mid:1", "child:2"), lifecycle(7, "completed", "mid:1", "child:2"))
        log.last_run = 4
        assert await talk.ask("agent.getTree") == success(
            tree={
                "namespace": [],
                "status": "running",
                "graph_name": "steps",
                "children": [
                    {
                        "namespace": ["mid:1"],
                        "status": "started",
                        "graph_name": "mid:1",
                        "children": [
                            {"namespace": ["mid:1", "child:2"], "status": "completed", "graph_name": "child:2"}
                        ],
                    }
                ],
            }
        )
        assert log.asked[-1].replay == runs_pb2.REPLAY_LAST_RUN
        await log.followers_are(0)


async def test_a_tree_without_subgraphs(connect: Connect, script: Script) -> None:
    thread(script, *RUN)
    async with connect() as talk:
        tree = {"namespace": [], "status": "completed", "graph_name": "steps"}
        assert await talk.ask("agent.getTree") == success(tree=tree)


# --- commands


UNFIT = [
    ("[1]", None),
    ('"x"', None),
    ("{}", None),
    ("null", None),
    ('{"id":"a","method":"x"}', "a"),
    ('{"id":5}', 5),
    ('{"id":1.5,"method":"x"}', 1.5),
]


async def test_what_is_no_command_leaves_the_socket_open(connect: Connect) -> None:
    async with connect() as talk:
        for text in ("{bad", "", "\0"):
            await talk.socket.send(text)
            assert await talk.next() == {"id": None, **invalid("Protocol commands must be valid JSON.")}
        for text, echoed in UNFIT:
            await talk.socket.send(text)
            message = "Protocol commands must include an integer id and string method."
            assert await talk.next() == {"id": echoed, **invalid(message)}
        for method in ("bogus", "state.get", "input.inject"):
            assert await talk.ask(method) == error("unknown_command", f"Unknown protocol command: {method}")
        await talk.socket.send('{"id":3,"method":"run.start","params":[1]}')
        assert await talk.next() == {"id": 3, **invalid("run.start requires an assistant_id.")}


@pytest.mark.parametrize("frame", [b"\x00\x01binary", b'{"id":9,"method":"agent.getTree"}', b""])
async def test_a_binary_frame_closes(connect: Connect, frame: bytes) -> None:
    async with connect() as talk:
        await talk.socket.send(frame)
        assert await talk.closed() == 1003


async def test_a_run_is_started_over_the_socket(connect: Connect, script: Script) -> None:
    script.on(CreateRun=run_row(), GetThread=thread_row(), GetThreadPosition=runs_pb2.ThreadPosition(seq=7))
    thread(script, *RUN)
    async with connect() as talk:
        await talk.subscribe("lifecycle")
        assert await talk.ask("run.start", assistant_id="steps", input={"n": 1}) == success(3, run_id=RUN_ID)
    assert script.last("CreateRun").thread_id == THREAD_ID


def paused(script: Script) -> None:
    """The thread asks `i1`."""
    interrupts = b'{"t1":[{"id":"i1","value":"one?"}]}'
    row = thread_row(state=threads_pb2.THREAD_STATE_INTERRUPTED, interrupts_json=interrupts)
    script.on(CreateRun=run_row(), GetThread=row)


MISMATCH = error("no_such_interrupt", "Interrupt namespace does not match the pending interrupt.")


@pytest.mark.parametrize("given", [{}, {"namespace": []}, {"namespace": ["child"]}, {"namespace": ["child:1", "x"]}])
async def test_an_answer_names_the_namespace_that_the_socket_has_shown(
    connect: Connect, script: Script, given: dict[str, Any]
) -> None:
    paused(script)
    thread(script, request_of(1, "i1", "child:1"))
    async with connect() as talk:
        assert (await talk.subscribe("input"))[0] == [1]
        assert await talk.ask("input.respond", interrupt_id="i1", response="x", **given) == MISMATCH
        several = [{"interrupt_id": "i1", "response": "x", **given}]
        assert await talk.ask("input.respond", responses=several) == MISMATCH
        assert "CreateRun" not in script.names()
        right = {"interrupt_id": "i1", "response": "x", "namespace": ["child:1"]}
        assert await talk.ask("input.respond", **right) == success(1)
        assert await talk.ask("input.respond", responses=[right]) == success(1)
    assert orjson.loads(script.last("CreateRun").command_json) == {"resume": {"i1": "x"}}


async def test_an_answer_to_a_request_of_the_root_needs_no_namespace(connect: Connect, script: Script) -> None:
    paused(script)
    log = thread(script)
    async with connect() as talk:
        await talk.subscribe("input")
        await log.add(request_of(1, "i1"))
        assert await talk.events(1) == [1]
        for given in ({}, {"namespace": []}, {"namespace": None}):
            assert await talk.ask("input.respond", interrupt_id="i1", response="x", **given) == success(1)
        assert await talk.ask("input.respond", interrupt_id="i1", namespace=["a:1"]) == MISMATCH


async def test_a_socket_that_has_not_shown_the_request_checks_no_namespace(connect: Connect, script: Script) -> None:
    paused(script)
    async with connect() as talk:
        assert await talk.ask("input.respond", interrupt_id="i1", namespace=["any:1"]) == success()


ANSWERS = [
    ({}, invalid("input.respond requires an interrupt_id.")),
    ({"responses": ["a"]}, invalid("input.respond responses entries must be objects.")),
    ({"interrupt_id": ["i1"]}, invalid("input.respond requires an interrupt_id.")),
    ({"interrupt_id": "zz"}, error("no_such_interrupt", "Unknown or already-consumed interrupt: zz")),
]


@pytest.mark.parametrize(("params", "answer"), ANSWERS)
async def test_bad_answers_over_the_socket(
    connect: Connect, script: Script, params: dict[str, Any], answer: dict[str, Any]
) -> None:
    paused(script)
    thread(script, request_of(1, "i1", "child:1"))
    async with connect() as talk:
        await talk.subscribe("input")
        assert await talk.ask("input.respond", **params) == answer


# --- the upgrade


async def test_what_is_no_uuid_is_422(live: httpx.AsyncClient, tmp_path: Path) -> None:
    for path in ("/threads/abc/stream/events", "/threads/abc/stream"):
        status, body = await refused(tmp_path, path)
        assert (status, orjson.loads(body)) == (422, {"detail": "Invalid thread ID: must be a UUID"})


@pytest.mark.parametrize("path", ["/stream/events", f"/threads/{THREAD_ID}/commands", f"/threads/{THREAD_ID}/events"])
async def test_there_are_no_other_sockets(live: httpx.AsyncClient, tmp_path: Path, path: str) -> None:
    assert (await refused(tmp_path, path))[0] == 403


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cors_allow_origins": ("https://page.example",)},
        {"cors_allow_origins": (), "cors_allow_origin_regex": r"https://.*\.example"},
        {"cors_allow_origins": ("https://other.example", "*")},
    ],
)
async def test_pages_that_may_read_answers_may_open_sockets(
    gateway: Gateway, script: Script, tmp_path: Path, changes: dict[str, Any]
) -> None:
    async with serving(gateway, tmp_path, **changes), talking(tmp_path, origin="https://page.example") as talk:
        assert (await talk.ask("bogus"))["error"] == "unknown_command"


@pytest.mark.parametrize(
    "origin", ["https://page.example", "http://gateway.example", "null", "https://a.b.example.org"]
)
async def test_other_pages_may_not(gateway: Gateway, tmp_path: Path, origin: str) -> None:
    changes = {"cors_allow_origins": ("https://other.example",), "cors_allow_origin_regex": r"https://.*\.example.net"}
    async with serving(gateway, tmp_path, **changes):
        status, body = await refused(tmp_path, origin=origin)
    assert (status, orjson.loads(body)) == (403, {"detail": "Origin not allowed"})


@pytest.mark.parametrize("origin", ["http://gateway", None])
async def test_the_servers_own_pages_and_programs_may(gateway: Gateway, tmp_path: Path, origin: str | None) -> None:
    async with serving(gateway, tmp_path, cors_allow_origins=()), talking(tmp_path, origin=origin) as talk:
        assert (await talk.ask("bogus"))["error"] == "unknown_command"


async def test_sockets_are_under_the_prefix_only(gateway: Gateway, script: Script, tmp_path: Path) -> None:
    thread(script, *RUN)
    async with serving(gateway, tmp_path, mount_prefix="/api"):
        async with talking(tmp_path, f"/api{EVENTS}") as talk:
            assert (await talk.subscribe("values"))[0] == [2]
        assert (await refused(tmp_path))[0] == 403
        assert (await refused(tmp_path, f"/apis{EVENTS}"))[0] == 403


@pytest.mark.parametrize("path", [EVENTS, AGENT_EVENTS])
async def test_without_threads_there_are_no_sockets(gateway: Gateway, tmp_path: Path, path: str) -> None:
    async with serving(gateway, tmp_path, disabled_routes=("threads",)):
        assert (await refused(tmp_path, path))[0] == 403


async def test_a_plain_get_of_the_shared_path_is_the_other_apis_stream(live: httpx.AsyncClient, script: Script) -> None:
    script.on(StreamThread=[runs_pb2.StreamThreadResponse(position="0-0")])
    response = await live.get(AGENT_EVENTS)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_too_many_connections_are_503(gateway: Gateway, tmp_path: Path) -> None:
    async with serving(gateway, tmp_path, http_max_connections=1):
        async with talking(tmp_path) as talk:
            status, body = await refused(tmp_path)
            assert (status, orjson.loads(body)) == (503, {"detail": "Service Unavailable"})
            assert (await talk.ask("bogus"))["error"] == "unknown_command"
        async with talking(tmp_path) as talk:
            assert (await talk.ask("bogus"))["error"] == "unknown_command"


async def test_a_head_that_is_too_large_is_431(gateway: Gateway, tmp_path: Path) -> None:
    async with serving(gateway, tmp_path, http_max_header_bytes=1000):
        assert (await refused(tmp_path, additional_headers={"x-large": "x" * 1000}))[0] == 431


# --- ends


class Silent:
    """A call that gives nothing. (One of gRPC cancels itself when its reader is cancelled, but not at every moment.)"""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.is_cancelled = False

    async def read(self) -> None:
        self.asked.set()
        await asyncio.Event().wait()

    def cancel(self) -> None:
        self.is_cancelled = True


async def test_a_stream_that_is_left_while_it_begins_leaves_no_call_behind(gateway: Gateway) -> None:
    call = Silent()
    clients = SimpleNamespace(follow=lambda *_: call, watch=gateway.clients.watch)
    impatient = SimpleNamespace(clients=clients, settings=gateway.settings)
    beginning = asyncio.create_task(begin(impatient, gateway.clients.runs.FollowThread, None))  # type: ignore[arg-type]
    await call.asked.wait()
    beginning.cancel()
    await asyncio.gather(beginning, return_exceptions=True)
    assert call.is_cancelled


async def test_a_client_that_goes_ends_what_it_followed(connect: Connect, gateway: Gateway, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as talk:
        await talk.subscribe("values")
        await talk.follows(log)
    await log.followers_are(0)


UPGRADE = (
    f"GET {EVENTS} HTTP/1.1\r\nhost: gateway\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


def masked(text: bytes) -> bytes:
    """A short text frame of a client."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


async def test_a_client_that_reads_nothing_is_closed(gateway: Gateway, script: Script, tmp_path: Path) -> None:
    log = thread(script, *RUN)
    async with serving(gateway, tmp_path, http_stall_timeout_seconds=0.2):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "http.sock"))
        try:
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            command = b'{"id":1,"method":"subscription.subscribe","params":{"channels":["values"]}}'
            writer.write(masked(command))
            await log.calls_are(2)
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
            for seq in range(4, 54):
                await log.add(protocol_event(seq, "values", b'"%b"' % (b"x" * 100_000)))
            await log.followers_are(0)
        finally:
            writer.transport.abort()
            await log.followers_are(0)  # the server has closed its side too


async def test_a_shutdown_says_that_the_service_restarts(gateway: Gateway, script: Script, tmp_path: Path) -> None:
    log = thread(script, *RUN)
    async with live_client(gateway, tmp_path):
        connection = talking(tmp_path)
        talk = await connection.__aenter__()
        await talk.subscribe("values")
        await talk.follows(log)
    assert await talk.closed() == 1012
    await log.followers_are(0)
    await connection.__aexit__(None, None, None)


async def test_a_replica_that_goes_takes_nothing_with_it(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as talk:
        await talk.subscribe("values", "lifecycle")
        await log.add(protocol_event(4))
        assert await talk.events(1) == [4]
        await log.lose_replica()
        await log.add(protocol_event(5))
        assert await talk.events(1) == [5]
    assert log.asked[-1].continue_after == "7-4"


async def test_a_replica_that_goes_before_an_event_comes(connect: Connect, script: Script) -> None:
    log = thread(script, *RUN)
    async with connect() as talk:
        await talk.subscribe("values")
        await log.calls_are(2)
        await log.followers_are(1)
        await log.lose_replica()
        await log.add(protocol_event(4))
        assert await talk.events(1) == [4]
    assert log.asked[-1].continue_after == "7-3"


@pytest.mark.parametrize(
    ("failure", "message"),
    [(InvalidArgument("no more"), "422: no more"), (Unavailable("gone"), "503: Service Unavailable")],
)
async def test_a_stream_that_breaks_for_good_is_told_then_the_socket_closes(
    connect: Connect, script: Script, failure: Exception, message: str
) -> None:
    log = Log(*RUN)

    async def behaviour(request: runs_pb2.FollowThreadRequest) -> AsyncIterator[Any]:
        if request.continue_after:
            yield followed(position=request.continue_after)
            raise failure
        async for each in log(request):
            yield each

    script.on(FollowThread=behaviour)
    async with connect() as talk:
        await talk.subscribe("values")
        assert await talk.next() == {"id": None, **error("unknown_error", message)}
        assert await talk.closed() == 1013


async def test_a_socket_whose_service_was_away_at_first(
    settings: GatewaySettings, script: Script, tmp_path: Path
) -> None:
    log = thread(script, *RUN)
    async with open_gateway(settings) as gateway, live_client(gateway, tmp_path), talking(tmp_path) as talk:
        subscribing = asyncio.create_task(talk.subscribe("values"))
        async with scripted_services(settings, script):
            assert (await subscribing)[0] == [2]
            await log.followers_are(1)


async def test_a_command_that_is_too_large_closes(gateway: Gateway, tmp_path: Path) -> None:
    async with serving(gateway, tmp_path, http_max_request_body_bytes=1000), talking(tmp_path) as talk:
        await talk.socket.send('{"id":1,"method":"bogus","params":{"x":"' + "x" * 900 + '"}}')
        assert (await talk.next())["error"] == "unknown_command"
        await talk.socket.send("x" * 1001)
        assert await talk.closed() == 1009


async def test_sockets_are_counted_while_they_are_open(connect: Connect, gateway: Gateway, script: Script) -> None:
    log = thread(script, *RUN)
    gauge = gateway.metrics.in_progress
    before = gauge._value.get()
    async with connect() as talk:
        await talk.subscribe("values")
        assert gauge._value.get() == before + 1
        await talk.follows(log)
    await log.followers_are(0)
    async with asyncio.timeout(SECONDS):
        while gauge._value.get() != before:  # noqa: ASYNC110 - a metric tells nobody
            await asyncio.sleep(0)


async def test_a_socket_outlives_the_time_that_a_head_may_take(
    gateway: Gateway, script: Script, tmp_path: Path
) -> None:
    thread(script, *RUN)
    async with serving(gateway, tmp_path, http_header_timeout_seconds=0.1), talking(tmp_path) as talk:
        assert await talk.ask("bogus") == error("unknown_command", "Unknown protocol command: bogus")
        with pytest.raises(TimeoutError):  # nothing comes, and the socket stays
            async with asyncio.timeout(0.3):
                await talk.socket.recv()
        assert await talk.ask("bogus") == error("unknown_command", "Unknown protocol command: bogus")
