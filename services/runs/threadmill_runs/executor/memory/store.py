"""GrpcStore: LangGraph's BaseStore on a stub of the store service."""

import asyncio
from collections.abc import Iterable
from typing import cast
from weakref import WeakKeyDictionary

import grpc
from langgraph.store.base import BaseStore, InvalidNamespaceError, Op, Result, TTLConfig
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.store.v1 import store_pb2, store_pb2_grpc

from threadmill_runs.executor.memory.coalescer import Coalescer, Refused
from threadmill_runs.executor.memory.codec import TTL_OF_THE_SERVICE, decode_result, encode_op

NAMESPACE_REASONS = frozenset({"INVALID_NAMESPACE", "EMPTY_NAMESPACE", "RESERVED_NAMESPACE"})
INDEX_REASONS = frozenset({"EMBEDDING_FAILED", "INDEX_MISMATCH", "INDEX_CHANGED"})
# A call also waits for a store that restarts.
CALL_TIMEOUT_SECONDS = 30.0
LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

# LangGraph fills in what a caller left open from this; these values leave the choice open for the service, whose
# settings decide. The declared types do not provide for that, so they are overruled.
LEFT_TO_THE_SERVICE = cast("TTLConfig", {"refresh_on_read": None, "default_ttl": TTL_OF_THE_SERVICE})


class StoreUnavailable(ConnectionError):
    """The store service did not answer, in spite of retries, or nobody embedded its texts in time."""


class IndexFailed(RuntimeError):
    """The texts of an item or a query could not be embedded, or Postgres cannot hold vectors. Nothing was written."""


class StoreTooSlow(TimeoutError):
    """The store's database needed too long for a search. Nothing was written."""


class GrpcStore(BaseStore):
    """A store for graphs, whose calls travel over one channel on one event loop, the control loop.

    Its synchronous methods may be called on any thread but the control loop's, even on one that runs another event
    loop (which they block, as any synchronous call does); its asynchronous ones on any event loop. Operations that
    one turn of a loop asks for share a call. Reads of a batch see the state before its writes.

    Raises InvalidNamespaceError, ValueError for other refusals, TypeError for values that are no JSON,
    StoreUnavailable, StoreTooSlow, IndexFailed.
    """

    supports_ttl = True
    ttl_config = LEFT_TO_THE_SERVICE

    def __init__(self, stub: store_pb2_grpc.StoreStub, control_loop: asyncio.AbstractEventLoop) -> None:
        self._stub = cast("store_pb2_grpc.StoreAsyncStub", stub)  # the generated class is one; its types are two
        self._loop = control_loop
        self._coalescer = Coalescer(self._send)
        # What one turn of a user loop asks for crosses to the control loop in one piece: that loop would wake up for
        # the first operation and send it before it sees the others.
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Coalescer] = WeakKeyDictionary()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Executes operations and blocks until their results are there, in order."""
        if _running_loop() is self._loop:
            raise RuntimeError("a synchronous store call on the control loop would wait for itself; use abatch")
        asked, messages = _asked(ops)
        results = asyncio.run_coroutine_threadsafe(self._request(messages, self._coalescer), self._loop).result()
        return _answers(asked, results)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Executes operations; their results, in order."""
        # Encoding and decoding happen here, on the caller's loop: a large value does not hold up the control loop.
        asked, messages = _asked(ops)
        return _answers(asked, await self._request(messages, self._coalescer_here()))

    def _coalescer_here(self) -> Coalescer:
        """The one of the running loop."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return self._coalescer
        return self._turns.setdefault(loop, Coalescer(self._cross))

    async def _cross(self, ops: list[store_pb2.Op]) -> list[store_pb2.Result]:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._coalescer.request(ops), self._loop))

    async def _request(self, messages: list[store_pb2.Op], coalescer: Coalescer) -> list[store_pb2.Result]:
        try:
            return await coalescer.request(messages)
        except Refused as error:
            kind = InvalidNamespaceError if error.reason in NAMESPACE_REASONS else ValueError
            raise kind(error.message) from None

    async def _send(self, ops: list[store_pb2.Op]) -> list[store_pb2.Result]:
        try:
            response = await self._stub.Batch(store_pb2.BatchRequest(ops=ops), timeout=CALL_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
                raise Refused(error.details() or "", reason_of(error)) from error
            if reason_of(error) == "STATEMENT_TIMEOUT":
                raise StoreTooSlow(error.details()) from error
            if reason_of(error) in INDEX_REASONS:
                raise IndexFailed(error.details()) from error
            if error.code() in LOST:
                raise StoreUnavailable(f"the store does not answer: {error.details()}") from error
            raise
        return list(response.results)


def _asked(ops: Iterable[Op]) -> tuple[list[tuple[Op, bool]], list[store_pb2.Op]]:
    """Each operation and whether the service is asked for it, and the messages that ask."""
    encoded = [(op, encode_op(op)) for op in ops]
    return (
        [(op, message is not None) for op, message in encoded],
        [message for _, message in encoded if message is not None],
    )


def _answers(asked: list[tuple[Op, bool]], results: list[store_pb2.Result]) -> list[Result]:
    remaining = iter(results)
    return [decode_result(op, next(remaining)) if was_asked else [] for op, was_asked in asked]


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
