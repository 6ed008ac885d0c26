"""What a paused thread asks for, as its row holds it."""

from typing import Any

import orjson
from threadmill_protos.threads.v1 import threads_pb2


def interrupts_of(thread: threads_pb2.Thread) -> list[dict[str, Any]]:
    """The interrupts of all tasks of the thread, in their order."""
    by_task: dict[str, list[dict[str, Any]]] = orjson.loads(thread.interrupts_json or b"{}")
    return [interrupt for of_task in by_task.values() for interrupt in of_task]
