"""The client of the service with which executors embed."""

import sys
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.store.v1 import embeddings_pb2

from threadmill_store.errors import EmbedderUnavailable, EmbeddingFailed, IndexChanged
from threadmill_store.semantic.index import Description

if TYPE_CHECKING:
    from threadmill_protos.store.v1.embeddings_pb2_grpc import EmbeddingsAsyncStub

DOCUMENT = embeddings_pb2.EmbedRequest.PURPOSE_DOCUMENT
QUERY = embeddings_pb2.EmbedRequest.PURPOSE_QUERY
_FLOAT_BYTES = 4


class Embedder:
    """Asks whichever executor answers. Raises EmbedderUnavailable when none does in time."""

    def __init__(self, stub: "EmbeddingsAsyncStub", timeout_seconds: float) -> None:
        self._stub = stub
        self._timeout = timeout_seconds

    async def describe(self) -> Description | None:
        """How the application wants its memory indexed; None: not at all."""
        try:
            found = await self._stub.DescribeIndex(
                embeddings_pb2.DescribeIndexRequest(), timeout=self._timeout, wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            raise EmbedderUnavailable(f"no executor tells of its embedder: {error.details()}") from error
        return Description(found.identity, found.dims, tuple(found.fields)) if found.enabled else None

    async def embed(
        self, description: Description, texts: Sequence[str], purpose: "embeddings_pb2.EmbedRequest.Purpose.ValueType"
    ) -> dict[str, str]:
        """The vector of each text, as Postgres writes vectors; one call, each text once.

        Raises IndexChanged when executors embed differently by now, EmbeddingFailed when theirs fails.
        """
        unique = list(dict.fromkeys(texts))
        if not unique:
            return {}
        request = embeddings_pb2.EmbedRequest(identity=description.identity, texts=unique, purpose=purpose)
        try:
            response = await self._stub.Embed(request, timeout=self._timeout, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise _translated(error) from error
        return dict(zip(unique, _literals(response.vectors, len(unique), description.dims), strict=True))


def _translated(error: grpc.aio.AioRpcError) -> Exception:
    match reason_of(error):
        case "INDEX_CHANGED":
            return IndexChanged(error.details() or "")
        case "EMBEDDING_FAILED":
            return EmbeddingFailed(error.details() or "")
        case _:
            return EmbedderUnavailable(f"no executor answers to embed texts: {error.details()}")


def _literals(packed: bytes, count: int, dims: int) -> list[str]:
    if len(packed) != count * dims * _FLOAT_BYTES:
        raise EmbeddingFailed(f"{count} vectors of {dims} components cannot be {len(packed)} bytes")
    numbers = array("f")
    numbers.frombytes(packed)
    if sys.byteorder == "big":
        numbers.byteswap()
    return [f"[{','.join(map(repr, numbers[at : at + dims]))}]" for at in range(0, count * dims, dims)]
