"""The vectors that a batch needs, made before its transaction begins."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from threadmill_store.domain import Put, Search
from threadmill_store.errors import IndexChanged, InvalidArgument
from threadmill_store.semantic.embedder import DOCUMENT, QUERY, Embedder
from threadmill_store.semantic.index import Index
from threadmill_store.semantic.texts import texts_of
from threadmill_store.semantic.watch import IndexWatch


@dataclass(frozen=True, slots=True)
class Vectors:
    """An embedder, the vectors of each put in order, and the vector of each query."""

    index: Index
    puts: list[list[str]] = field(default_factory=list)
    queries: dict[str, str] = field(default_factory=dict)


class Vectorizer:
    """Asks the embedder for what a batch needs: one call for its puts and one for its queries, at most."""

    def __init__(self, watch: IndexWatch, embedder: Embedder) -> None:
        self._watch = watch
        self._embedder = embedder

    async def vectors(self, puts: Sequence[Put], searches: Sequence[Search]) -> Vectors | None:
        """None when there is no semantic search.

        Raises EmbedderUnavailable, EmbeddingFailed, IndexMismatch; InvalidArgument for a value that is no JSON.
        """
        queries = [search.query for search in searches if search.query.strip()]
        if not puts and not queries:
            return None
        index = await self._watch.current()
        if index is None:
            return None
        try:
            return await self._embed(index, puts, queries)
        except IndexChanged:
            # The application has changed and nobody has told us yet.
            index = await self._watch.ask()
            return await self._embed(index, puts, queries) if index else None

    async def _embed(self, index: Index, puts: Sequence[Put], queries: Sequence[str]) -> Vectors:
        texts = [put_texts(index, put.value, put.paths) for put in puts]
        every = [text for found in texts for text in found]
        documents = await self._embedder.embed(index.description, every, DOCUMENT)
        return Vectors(
            index,
            [[documents[text] for text in found] for found in texts],
            await self._embedder.embed(index.description, queries, QUERY),
        )


def put_texts(index: Index, value: str, paths: tuple[str, ...] | None) -> list[str]:
    """The texts of a value that are to be found; InvalidArgument when it is no JSON."""
    wanted = index.description.fields if paths is None else paths
    if not wanted:
        return []
    try:
        return texts_of(orjson.loads(value), wanted)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the value is not JSON: {error}") from error
