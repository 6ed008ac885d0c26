"""The order in which frames leave, and messages in parts."""

from threadmill_chassis.shared_calls.frames import MESSAGE_BYTES, PART_BYTES, Assembly, FrameQueue
from threadmill_protos.common.v1 import calls_pb2

Frame = calls_pb2.Frame
BIG = bytes(range(256)) * (PART_BYTES * 3 // 256) + b"end"


def drained(queue):
    messages = []
    while queue:
        messages.append(queue.take())
    return messages


def assembled(messages):
    """What each call says, put together from its parts: (message, last)."""
    said, assemblies = {}, {}
    for frame in (frame for message in messages for frame in message):
        if assemblies.setdefault(frame.call_id, Assembly()).add(frame):
            said.setdefault(frame.call_id, []).append((frame.message, frame.last))
    return said


def test_small_frames_share_a_message_in_their_order():
    queue = FrameQueue()
    for number in range(1, 30):
        queue.put(Frame(call_id=number, method="/m", message=b"x"))
    (message,) = drained(queue)
    assert [frame.call_id for frame in message] == list(range(1, 30))
    assert queue.bytes_count == 0


def test_messages_are_bounded():
    queue = FrameQueue()
    for number in range(1, 50):
        queue.put(Frame(call_id=number, message=b"x" * (PART_BYTES - 1)))
    sizes = [sum(len(frame.message) for frame in message) for message in drained(queue)]
    assert max(sizes) <= MESSAGE_BYTES + PART_BYTES


def test_a_large_message_goes_in_parts_beside_small_ones():
    queue = FrameQueue()
    queue.put(Frame(call_id=1, method="/m", request_id="r", message=BIG, last=True))
    for number in (2, 3):
        queue.put(Frame(call_id=number, message=b"small", last=True))
    messages = drained(queue)
    assert [frame.call_id for frame in messages[0]] == [2, 3, 1]
    assert (messages[0][2].method, messages[0][2].request_id) == ("/m", "r")
    assert len(messages) == 4
    assert assembled(messages) == {1: [(BIG, True)], 2: [(b"small", True)], 3: [(b"small", True)]}


def test_what_a_call_says_keeps_its_order():
    queue = FrameQueue()
    said = [b"a", BIG, b"b", BIG + b"2", b""]
    for message in said:
        queue.put(Frame(call_id=1, message=message))
    queue.put(Frame(call_id=1, last=True))
    queue.put(Frame(call_id=2, message=BIG))
    assert assembled(drained(queue)) == {1: [*((each, False) for each in said), (b"", True)], 2: [(BIG, False)]}
    assert queue.bytes_count == 0


def test_a_call_that_is_given_up_leaves_nothing():
    queue = FrameQueue()
    for number in (1, 2):
        queue.put(Frame(call_id=number, message=BIG))
        queue.put(Frame(call_id=number, message=b"after"))
        queue.put(Frame(call_id=10 + number, message=b"small"))
    queue.withdraw(1)
    queue.withdraw(12)
    assert queue.bytes_count == len(BIG) + len(b"after") + len(b"small")
    assert assembled(drained(queue)) == {2: [(BIG, False), (b"after", False)], 11: [(b"small", False)]}
    queue.put(Frame(call_id=3, message=BIG))
    queue.clear()
    assert not queue
    assert queue.bytes_count == 0
