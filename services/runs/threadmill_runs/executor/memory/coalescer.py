"""One RPC for all operations that arrive in one turn of the event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from threadmill_protos.store.v1 import store_pb2

Send = Callable[[list[store_pb2.Op]], Awaitable[list[store_pb2.Result]]]

# Of the contract; and so much that many small writes share a call while a large one does not hold up others.
MAX_OPS = 1000
MAX_BYTES = 4 * 1024 * 1024


class Refused(Exception):
    """The service found a batch invalid: its words and its reason."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Request:
    ops: list[store_pb2.Op]
    bytes_count: int
    results: asyncio.Future[list[store_pb2.Result]]


class Coalescer:
    """Collects requests and sends them together; belongs to one event loop.

    Nothing queues up here: each turn's requests leave at its end, and every caller waits for its own results. A
    request's operations stay together in one call, and so atomic, up to the contract's limit of operations.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[_Request] = []
        # The loop holds tasks weakly.
        self._calls: set[asyncio.Future[list[store_pb2.Result]]] = set()

    async def request(self, ops: list[store_pb2.Op]) -> list[store_pb2.Result]:
        """The result of each operation, in order. Raises what `send` raises."""
        results: list[store_pb2.Result] = []
        for start in range(0, len(ops), MAX_OPS):
            results += await self._enqueue(ops[start : start + MAX_OPS])
        return results

    def _enqueue(self, ops: list[store_pb2.Op]) -> asyncio.Future[list[store_pb2.Result]]:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        request = _Request(ops, sum(op.ByteSize() for op in ops), loop.create_future())
        self._waiting.append(request)
        return request.results

    def _flush(self) -> None:
        waiting = [request for request in self._waiting if not request.results.done()]
        self._waiting = []
        for requests in _grouped(waiting):
            self._call(requests)

    def _call(self, requests: Sequence[_Request]) -> None:
        ops = [op for request in requests for op in request.ops]
        call = asyncio.ensure_future(self._send(ops))
        self._calls.add(call)
        call.add_done_callback(lambda done: self._settle(done, requests))

    def _settle(self, call: asyncio.Future[list[store_pb2.Result]], requests: Sequence[_Request]) -> None:
        self._calls.discard(call)
        if call.cancelled():
            for request in requests:
                request.results.cancel()
        elif (error := call.exception()) is None:
            _distribute(call.result(), requests)
        elif isinstance(error, Refused) and len(requests) > 1:
            # One request's mistake is not the others' failure: nothing was written, so each goes alone.
            for request in requests:
                self._call([request])
        else:
            for request in requests:
                if not request.results.done():
                    request.results.set_exception(error)


def _distribute(results: Sequence[store_pb2.Result], requests: Sequence[_Request]) -> None:
    remaining = iter(results)
    for request in requests:
        answered = [next(remaining) for _ in request.ops]
        if not request.results.done():  # its caller may have given up
            request.results.set_result(answered)


def _grouped(requests: Sequence[_Request]) -> Iterator[list[_Request]]:
    group: list[_Request] = []
    ops_count = bytes_count = 0
    for request in requests:
        ops_count += len(request.ops)
        bytes_count += request.bytes_count
        if group and (ops_count > MAX_OPS or bytes_count > MAX_BYTES):
            yield group
            group, ops_count, bytes_count = [], len(request.ops), request.bytes_count
        group.append(request)
    if group:
        yield group
