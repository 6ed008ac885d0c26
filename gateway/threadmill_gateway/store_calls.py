"""Calls of the store: requests that arrive at the same time share one.

A call costs both sides several times what the operation in it does. So operations that are asked for in one turn of
the event loop travel together; and while a call is under way, those that come wait for its end, or for a moment at
most, and then go together. Under load the groups grow and the cost of each operation falls; a client alone notices
nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from threadmill_protos.store.v1 import store_pb2

from threadmill_gateway.clients import Clients

# Few enough that a large group does not become a slow one.
MAX_OPS = 32
MAX_VALUE_BYTES = 4096
# A slow call, such as a write whose texts are embedded, holds up those behind it for no longer than this.
MAX_WAIT_SECONDS = 0.003
Answer = asyncio.Future[store_pb2.Result]


@dataclass(frozen=True, slots=True)
class _Request:
    op: store_pb2.Op
    answer: Answer


class StoreCalls:
    """Asks the store for one operation at a time, as it looks; for one event loop.

    Reads travel with reads and writes with writes, for writes may have to wait: for each other, or for vectors. Large
    values and searches with a condition or a query, which may take long, travel alone. Operations of one group belong
    to different requests, whose order nobody can know; one that is refused does not fail the others.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._waiting: dict[str, list[_Request]] = {}
        self._timers: dict[str, asyncio.Handle] = {}
        # By kind; the loop holds tasks weakly.
        self._calls: dict[str, set[asyncio.Task[None]]] = {}

    async def ask(self, op: store_pb2.Op) -> store_pb2.Result:
        """The result of the operation. Raises grpc.aio.AioRpcError, which `errors` maps to HTTP."""
        kind = _kind(op)
        if kind is None:
            return (await self._call([op]))[0]
        loop = asyncio.get_running_loop()
        request = _Request(op, loop.create_future())
        self._waiting.setdefault(kind, []).append(request)
        if kind not in self._timers:
            self._timers[kind] = (
                loop.call_later(MAX_WAIT_SECONDS, self._flush, kind)
                if self._calls.get(kind)
                else loop.call_soon(self._flush, kind)
            )
        return await request.answer

    def _flush(self, kind: str) -> None:
        self._timers.pop(kind).cancel()
        waiting = [request for request in self._waiting.pop(kind) if not request.answer.done()]
        calls = self._calls.setdefault(kind, set())
        for start in range(0, len(waiting), MAX_OPS):
            task = asyncio.create_task(self._settle(waiting[start : start + MAX_OPS]))
            calls.add(task)
            task.add_done_callback(lambda done: self._ended(kind, done))

    def _ended(self, kind: str, call: asyncio.Task[None]) -> None:
        self._calls[kind].discard(call)
        if kind in self._timers and not self._calls[kind]:
            self._flush(kind)

    async def _settle(self, group: Sequence[_Request]) -> None:
        try:
            results = await self._call([request.op for request in group])
        except grpc.aio.AioRpcError as error:
            if len(group) > 1 and _is_somebodys_fault(error):
                await asyncio.gather(*(self._settle([request]) for request in group))
                return
            _fail(group, error)
        except Exception as error:  # noqa: BLE001  # the 503 of a store that hangs, or a defect: nobody waits for ever
            _fail(group, error)
        else:
            for request, result in zip(group, results, strict=True):
                if not request.answer.done():  # its client may have gone
                    request.answer.set_result(result)

    async def _call(self, ops: Sequence[store_pb2.Op]) -> Sequence[store_pb2.Result]:
        answer = await self._clients.ask(self._clients.store.Batch, store_pb2.BatchRequest(ops=ops))
        return answer.results


def _fail(group: Sequence[_Request], error: Exception) -> None:
    for request in group:
        if not request.answer.done():  # its client may have gone
            request.answer.set_exception(error)


def _kind(op: store_pb2.Op) -> str | None:
    """With what an operation may travel; None: alone."""
    search = op.search
    simple = op.HasField("search") and not search.query and not search.conditions and 0 < search.limit <= MAX_OPS
    if simple or op.HasField("get"):
        return "reads"
    if op.HasField("delete") or (op.HasField("put") and len(op.put.value_json) <= MAX_VALUE_BYTES):
        return "writes"
    return None


def _is_somebodys_fault(error: grpc.aio.AioRpcError) -> bool:
    """Whether one operation of a group was refused, so that nothing was written and the others may go alone.

    Or their answers are too large to travel together.
    """
    return error.code() in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
