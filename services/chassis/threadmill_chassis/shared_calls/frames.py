"""Frames on their way out, and messages put together again: what both sides of a shared stream do."""

from collections import deque
from collections.abc import Iterator

from threadmill_protos.common.v1 import calls_pb2

# A message of the stream takes about so much, and a call's message travels in parts of so much: large ones hold up
# nobody, since beside one of their parts goes all that is small.
MESSAGE_BYTES = 1024 * 1024
PART_BYTES = 256 * 1024


class FrameQueue:
    """Frames in the order of each call; between calls, small ones first."""

    def __init__(self) -> None:
        self._small: deque[calls_pb2.Frame] = deque()
        self._parts: deque[calls_pb2.Frame] = deque()
        # Frames of each call among the parts: what the call says later must not overtake them.
        self._behind: dict[int, int] = {}
        self.bytes_count = 0

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._small or self._parts)

    def put(self, frame: calls_pb2.Frame) -> None:
        """Adds a frame, in parts if it is large."""
        self.bytes_count += len(frame.message)
        if len(frame.message) <= PART_BYTES and frame.call_id not in self._behind:
            self._small.append(frame)
            return
        for part in _parts(frame):
            self._parts.append(part)
            self._behind[frame.call_id] = self._behind.get(frame.call_id, 0) + 1

    def take(self) -> list[calls_pb2.Frame]:
        """The next message's."""
        frames: list[calls_pb2.Frame] = []
        size = 0
        while self._small and size < MESSAGE_BYTES:
            frames.append(self._small.popleft())
            size += len(frames[-1].message)
        if self._parts:
            part = self._parts.popleft()
            frames.append(part)
            size += len(part.message)
            self._behind[part.call_id] -= 1
            if not self._behind[part.call_id]:
                del self._behind[part.call_id]
        self.bytes_count -= size
        return frames

    def withdraw(self, call_id: int) -> None:
        """Drops the frames of a call."""
        self._small = deque(frame for frame in self._small if frame.call_id != call_id)
        self._parts = deque(frame for frame in self._parts if frame.call_id != call_id)
        self._behind.pop(call_id, None)
        self.bytes_count = sum(len(frame.message) for frames in (self._small, self._parts) for frame in frames)

    def clear(self) -> None:
        """Drops all."""
        self._small.clear()
        self._parts.clear()
        self._behind.clear()
        self.bytes_count = 0


def _parts(frame: calls_pb2.Frame) -> Iterator[calls_pb2.Frame]:
    """The frame itself, or several that together say the same; the first of them has all but the end of the message."""
    message, last = frame.message, frame.last
    if len(message) <= PART_BYTES:
        yield frame
        return
    head = calls_pb2.Frame()
    head.CopyFrom(frame)
    head.message, head.more, head.last = message[:PART_BYTES], True, False
    yield head
    for start in range(PART_BYTES, len(message), PART_BYTES):
        more = start + PART_BYTES < len(message)
        part = message[start : start + PART_BYTES]
        yield calls_pb2.Frame(call_id=frame.call_id, message=part, more=more, last=last and not more)


class Assembly:
    """Puts the parts of one call's messages together."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def add(self, frame: calls_pb2.Frame) -> bool:
        """Whether the frame is whole now: then it has the whole message."""
        if frame.more:
            self._parts.append(frame.message)
            return False
        if self._parts:
            frame.message = b"".join([*self._parts, frame.message])
            self._parts = []
        return True
