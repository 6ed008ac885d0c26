"""Large values travel once: the saver sends what the service lacks, and everything when it cannot know."""

from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.threads.v1 import checkpoints_pb2, threads_pb2
from threadmill_runs.executor.checkpoints.saver import GrpcSaver


class Recording:
    """A checkpoints stub that keeps the writes on their way to the real one."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.writes: list[checkpoints_pb2.WriteCheckpointsRequest] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    async def WriteCheckpoints(self, request: Any, **options: Any) -> Any:  # noqa: N802 - gRPC's name
        copy = checkpoints_pb2.WriteCheckpointsRequest()
        copy.CopyFrom(request)
        self.writes.append(copy)
        return await self._stub.WriteCheckpoints(request, **options)


@pytest.fixture
def stub(threads_service: Any) -> Recording:
    return Recording(threads_service.checkpoints)


class Conversation:
    """Puts a thread's growing list of messages through a saver, a message a step."""

    def __init__(self, threads_service: Any, stub: Any) -> None:
        self._service, self._stub = threads_service, stub
        self.thread_id = str(uuid4())
        self.config: Any = {"configurable": {"thread_id": self.thread_id, "checkpoint_ns": ""}}
        self.messages: list[HumanMessage] = [HumanMessage(f"{n} " * 100, id=str(n)) for n in range(200)]
        self.step = 0

    def saver(self, token: int | None = None) -> GrpcSaver:
        fence = common_pb2.Fence(run_id=str(uuid4()), token=token) if token else None
        return GrpcSaver(self._stub, self._service.control_loop, fence=fence)

    async def say(self, saver: GrpcSaver) -> int:
        """Adds a message; answers the bytes that travelled."""
        self.step += 1
        self.messages = [*self.messages, HumanMessage(f"more {self.step}", id=f"more {self.step}")]
        versions: Any = {"messages": f"{self.step:032d}.0"}
        checkpoint: Any = empty_checkpoint() | {"id": f"{self.step:06d}", "channel_versions": versions}
        checkpoint["channel_values"] = {"messages": self.messages}
        self.config = await saver.aput(self.config, checkpoint, {"step": self.step}, versions)
        return self._stub.writes[-1].ByteSize()

    async def read(self) -> list[HumanMessage]:
        latest = {"configurable": {"thread_id": self.thread_id}}
        found = await self.saver().aget_tuple(latest)
        assert found is not None
        return found.checkpoint["channel_values"]["messages"]


@pytest.fixture
async def conversation(threads_service: Any, stub: Recording) -> Conversation:
    made = Conversation(threads_service, stub)
    await threads_service.threads.CreateThread(threads_pb2.CreateThreadRequest(thread_id=made.thread_id))
    return made


async def test_a_message_more_sends_little_more(conversation: Conversation) -> None:
    saver = conversation.saver()
    first = await conversation.say(saver)
    assert first > 60_000
    assert all([await conversation.say(saver) < 12_000 for _ in range(20)])
    assert await conversation.read() == conversation.messages


async def test_the_next_run_knows_what_it_read(conversation: Conversation) -> None:
    await conversation.say(conversation.saver(token=1))
    later = conversation.saver(token=2)
    await later.aget_tuple(conversation.config)
    assert await conversation.say(later) < 12_000
    assert await conversation.read() == conversation.messages


async def test_who_has_read_nothing_sends_everything(conversation: Conversation) -> None:
    await conversation.say(conversation.saver())
    assert await conversation.say(conversation.saver()) > 60_000


async def test_after_a_deletion_all_of_it_is_sent_again(threads_service: Any, conversation: Conversation) -> None:
    saver = conversation.saver()
    await conversation.say(saver)
    request = checkpoints_pb2.DeleteCheckpointsRequest(thread_id=conversation.thread_id)
    await threads_service.checkpoints.DeleteCheckpoints(request)
    assert await conversation.say(saver) > 60_000
    assert await conversation.read() == conversation.messages
    assert await conversation.say(saver) < 12_000


async def test_pending_writes_share_the_chunks(conversation: Conversation) -> None:
    saver = conversation.saver()
    await conversation.say(saver)
    await saver.aput_writes(conversation.config, [("messages", conversation.messages)], "task")
    assert conversation._stub.writes[-1].ByteSize() < 12_000
    found = await conversation.saver().aget_tuple(conversation.config)
    assert found is not None
    assert found.pending_writes == [("task", "messages", conversation.messages)]
