"""One application's embedder, called where user code may run."""

import asyncio
import math
import sys
from array import array
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from langchain_core.embeddings import Embeddings

from threadmill_runs.executor.embedding.config import IndexConfig
from threadmill_runs.executor.embedding.errors import EmbeddingFailed
from threadmill_runs.executor.loops import Work, finished

T = TypeVar("T")


class Loops(Protocol):
    """Where user code runs; see loops.py."""

    def start(self, coroutine: Coroutine[Any, Any, T], *, graph_id: str = "", label: str = "") -> Work[T]:
        """Starts a coroutine where it disturbs nobody."""
        ...


class Embedder:
    """Embeds texts as the application wants it. For the control loop; holds no state but the loaded embedder."""

    def __init__(self, config: IndexConfig, embeddings: Embeddings, loops: Loops) -> None:
        self.config = config
        self._embeddings = embeddings
        self._loops = loops

    async def embed(self, texts: Sequence[str], *, as_queries: bool) -> bytes:
        """The packed vectors of the texts, in order. Raises EmbeddingFailed. Cancelling stops the embedder too."""
        # The work's name keeps a blocking embedder apart from the graphs on its loop (see loops.py).
        work = self._loops.start(self._call(list(texts), as_queries), graph_id="store.index.embed", label="embedder")
        try:
            return await finished(work)
        except asyncio.CancelledError:
            work.cancel()
            raise

    async def _call(self, texts: list[str], as_queries: bool) -> bytes:
        """On a user loop; a synchronous embedder goes to a thread of that loop, which LangChain's defaults see to."""
        try:
            if as_queries:
                found: Iterable[Any] = [await self._embeddings.aembed_query(text) for text in texts]
            else:
                found = await self._embeddings.aembed_documents(texts)
            return _packed(list(found), len(texts), self.config.dims)
        except EmbeddingFailed:
            raise
        except Exception as error:  # user code and providers raise whatever they like
            raise EmbeddingFailed(f"the embedder failed: {type(error).__name__}: {error}") from error


def _packed(vectors: list[Any], count: int, dims: int) -> bytes:
    """Little-endian 32-bit floats, one vector after the other."""
    if len(vectors) != count:
        raise EmbeddingFailed(f"the embedder answered {len(vectors)} vectors for {count} texts")
    packed = array("f")
    for vector in vectors:
        if len(vector) != dims:
            raise EmbeddingFailed(f"the embedder's vectors have {len(vector)} components, `store.index.dims` is {dims}")
        packed.extend(map(float, vector))
    if not all(map(math.isfinite, packed)):
        raise EmbeddingFailed("the embedder answered a number that is not finite")
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
