"""The application's embedder: how langgraph.json names it, how it is called, and what it may not answer."""

import asyncio
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from threadmill_runs.executor.embedding.config import IndexConfig, read_index
from threadmill_runs.executor.embedding.embedder import Embedder
from threadmill_runs.executor.embedding.errors import EmbeddingFailed
from threadmill_runs.executor.embedding.providers import load_embeddings
from threadmill_runs.executor.graphs.errors import ConfigError
from threadmill_runs.executor.loops import UserLoops

EMBED = """
import threading
import time

from langchain_core.embeddings import Embeddings

threads = []


def plain(texts):
    threads.append(threading.current_thread().name)
    return [[float(len(text)), 0.5] for text in texts]


async def asynchronous(texts):
    threads.append(threading.current_thread().name)
    return [[float(len(text)), 0.5] for text in texts]


class Two(Embeddings):
    def embed_documents(self, texts):
        return [(1, 2) for _ in texts]

    def embed_query(self, text):
        return (3, 4)


model = Two()
number = 5


def failing(texts):
    raise RuntimeError("no quota")


def too_few(texts):
    return []


def too_long(texts):
    return [[1.0, 2.0, 3.0] for _ in texts]


def infinite(texts):
    return [[float("inf"), 0.0] for _ in texts]


def words(texts):
    return [["a", "b"] for _ in texts]


def blocking(texts):
    time.sleep(0.5)
    return [[0.0, 0.0] for _ in texts]
"""


@pytest.fixture
def loops() -> Iterator[UserLoops]:
    made = UserLoops()
    yield made
    made.close()


def config(folder: Path, embed: str = "./embed.py:plain", **section: Any) -> IndexConfig:
    (folder / "embed.py").write_text(EMBED)
    (folder / "langgraph.json").write_text(json.dumps({"store": {"index": {"dims": 2, "embed": embed, **section}}}))
    found = read_index(folder / "langgraph.json")
    assert found is not None
    return found


def embedder(folder: Path, loops: UserLoops, name: str) -> Embedder:
    described = config(folder, f"./embed.py:{name}")
    return Embedder(described, load_embeddings(described), loops)


@pytest.mark.parametrize("name", ["plain", "asynchronous"])
async def test_functions_are_called_on_user_threads_with_all_texts(tmp_path: Path, loops: UserLoops, name: str) -> None:
    made = embedder(tmp_path, loops, name)
    assert struct.unpack("<4f", await made.embed(["a", "bcd"], as_queries=False)) == (1, 0.5, 3, 0.5)
    assert struct.unpack("<2f", await made.embed(["ab"], as_queries=True)) == (2, 0.5)


async def test_an_object_embeds_queries_its_own_way(tmp_path: Path, loops: UserLoops) -> None:
    made = embedder(tmp_path, loops, "model")
    assert struct.unpack("<4f", await made.embed(["a", "b"], as_queries=False)) == (1, 2, 1, 2)
    assert struct.unpack("<4f", await made.embed(["a", "b"], as_queries=True)) == (3, 4, 3, 4)


async def test_a_blocking_function_holds_up_neither_the_caller_nor_its_kind(tmp_path: Path, loops: UserLoops) -> None:
    made = embedder(tmp_path, loops, "blocking")
    started = asyncio.get_running_loop().time()
    turns = 0
    calls = asyncio.gather(*(made.embed(["a"], as_queries=False) for _ in range(4)))
    while not calls.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 10
    assert asyncio.get_running_loop().time() - started < 1.5
    assert threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("failing", "RuntimeError: no quota"),
        ("too_few", "0 vectors for 1 texts"),
        ("too_long", "3 components, `store.index.dims` is 2"),
        ("infinite", "not finite"),
        ("words", "ValueError"),
    ],
)
async def test_wrong_answers_are_named(tmp_path: Path, loops: UserLoops, name: str, words: str) -> None:
    with pytest.raises(EmbeddingFailed, match=words):
        await embedder(tmp_path, loops, name).embed(["a"], as_queries=False)


@pytest.mark.parametrize(
    ("embed", "words"),
    [
        ("./embed.py:missing", "has no variable 'missing'"),
        ("./absent.py:f", "there is no such file"),
        ("./embed.py:number", "must be a function"),
        ("no_such_package.module:f", "no_such_package"),
        ("cohere:model", "needs the package `langchain`"),
    ],
)
def test_an_embedder_that_cannot_be_loaded_stops_the_start(tmp_path: Path, embed: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_embeddings(config(tmp_path, embed))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"dims": 0}, "store.index.dims"),
        ({"dims": 4001}, "store.index.dims"),
        ({"dims": True}, "store.index.dims"),
        ({"dims": "3"}, "store.index.dims"),
        ({"embed": "nothing"}, "store.index.embed"),
        ({"embed": ":x"}, "store.index.embed"),
        ({"embed": None}, "store.index.embed"),
        ({"fields": []}, "store.index.fields"),
        ({"fields": "text"}, "store.index.fields"),
        ({"fields": [""]}, "store.index.fields"),
        *(
            ({"fields": ["text", path]}, "is no path")
            for path in (
                "a[",
                "..",
                "a..b",
                ".a",
                "a.",
                "$.",
                "[0]",
                "a[x]",
                "a[]",
                "{}",
                "{a,}",
                "a{",
                "a[0]b",
                "a\0[",
            )
        ),
        ({"distance": "l2"}, "store.index.distance"),
    ],
)
def test_a_wrong_section_is_refused_by_the_name_of_its_key(tmp_path: Path, section: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(tmp_path, **section)


def test_every_form_of_path_is_taken(tmp_path: Path) -> None:
    paths = [
        "$",
        "text",
        "a.b",
        "$.a",
        "n[*].text",
        "l[0]",
        "l[-1]",
        "a[0][1]",
        "*",
        "a.*",
        "{a,b.c}",
        "a.{b,c}",
        "x y",
    ]
    assert config(tmp_path, fields=paths).fields == tuple(paths)


@pytest.mark.parametrize("document", [{}, {"store": None}, {"store": {}}, {"store": {"ttl": {}}}])
def test_without_a_section_there_is_no_index(tmp_path: Path, document: Any) -> None:
    (tmp_path / "langgraph.json").write_text(json.dumps(document))
    assert read_index(tmp_path / "langgraph.json") is None


def test_the_identity_changes_with_what_makes_vectors_incomparable_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    first = config(tmp_path).identity
    assert config(tmp_path / "elsewhere").identity == first
    others = [
        config(tmp_path, dims=3).identity,
        config(tmp_path, fields=["text"]).identity,
        config(tmp_path, "./embed.py:asynchronous").identity,
    ]
    assert len({first, *others}) == 4


def test_a_server_that_speaks_openais_protocol_is_sent_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "offline")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    made: Any = load_embeddings(config(tmp_path, "openai:text-embedding-3-small"))
    assert made.model == "text-embedding-3-small"
    assert made.check_embedding_ctx_length is False
