"""The gRPC edge: serves threadmill.store.v1.Embeddings."""

from typing import Any

import grpc
import structlog
from threadmill_chassis.errors import InvalidArgument
from threadmill_chassis.grpc_server import Registration
from threadmill_protos.store.v1 import embeddings_pb2, embeddings_pb2_grpc

from threadmill_runs.executor.embedding.config import read_index
from threadmill_runs.executor.embedding.embedder import Embedder, Loops
from threadmill_runs.executor.embedding.errors import EmbeddingFailed, IndexChanged
from threadmill_runs.executor.embedding.providers import load_embeddings
from threadmill_runs.executor.settings import ExecutorSettings

SERVICE = "threadmill.store.v1.Embeddings"
Context = grpc.aio.ServicerContext[Any, Any]
log = structlog.get_logger(__name__)


class EmbeddingsServicer(embeddings_pb2_grpc.EmbeddingsServicer):
    """Answers about the application's embedder, of which there may be none."""

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder

    async def DescribeIndex(
        self, request: embeddings_pb2.DescribeIndexRequest, context: Context
    ) -> embeddings_pb2.DescribeIndexResponse:
        if self._embedder is None:
            return embeddings_pb2.DescribeIndexResponse()
        config = self._embedder.config
        return embeddings_pb2.DescribeIndexResponse(
            enabled=True, dims=config.dims, fields=config.fields, identity=config.identity
        )

    async def Embed(self, request: embeddings_pb2.EmbedRequest, context: Context) -> embeddings_pb2.EmbedResponse:
        if self._embedder is None or self._embedder.config.identity != request.identity:
            raise IndexChanged(f"this executor does not embed as {request.identity!r}")
        if not request.texts:
            raise InvalidArgument("there are no texts to embed")
        as_queries = request.purpose == embeddings_pb2.EmbedRequest.PURPOSE_QUERY
        try:
            vectors = await self._embedder.embed(request.texts, as_queries=as_queries)
        except EmbeddingFailed as error:
            log.warning("embedding_failed", reason=error.message, exc_info=error.__cause__)
            raise
        return embeddings_pb2.EmbedResponse(vectors=vectors)


def registration(settings: ExecutorSettings, loops: Loops) -> Registration:
    """What `serving` needs to serve the application's embedder. Raises ConfigError when it cannot be loaded."""
    config = read_index(settings.config)
    embedder = Embedder(config, load_embeddings(config), loops) if config is not None else None
    servicer = EmbeddingsServicer(embedder)
    return Registration(SERVICE, lambda server: embeddings_pb2_grpc.add_EmbeddingsServicer_to_server(servicer, server))
