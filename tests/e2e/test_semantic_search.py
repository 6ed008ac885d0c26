"""Semantic search as `store.index` of langgraph.json describes it: the provider is found, reached and used."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import Stack, StackOptions, open_stack

from .conftest import ENVIRONMENT

APP = Path(__file__).parent / "semantic_app" / "langgraph.json"
FACTS = ["the cat sleeps on the sofa", "quarterly revenue grew again", "mountains are covered in snow"]


@pytest.fixture(scope="module")
async def indexed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Every process, with an application that embeds by `openai:`; the stack points that at its offline model."""
    options = StackOptions(
        configs=(APP,),
        data=tmp_path_factory.mktemp("data"),
        environment=ENVIRONMENT,
        extra={"store": {"THREADMILL_STORE_EMBED_TIMEOUT_SECONDS": "2"}},
    )
    async with open_stack(options) as started:
        yield started


@pytest.fixture
async def memory(indexed: Stack) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=indexed.url) as opened:
        yield opened


async def test_items_are_found_by_meaning_through_the_sdk(memory: LangGraphClient) -> None:
    root = uuid4().hex
    for number, fact in enumerate(FACTS):
        await memory.store.put_item([root], str(number), {"text": fact, "odd": number % 2 == 1})
    await memory.store.put_item([root], "hidden", {"text": "the cat sleeps"}, index=False)
    await memory.store.put_item([root], "other", {"text": "nothing", "note": "a sleeping cat"}, index=["note"])
    found = (await memory.store.search_items([root], query="where does the cat sleep?"))["items"]
    assert [item["key"] for item in found[:2]] in (["0", "other"], ["other", "0"])
    assert found[-1]["key"] == "hidden"
    assert found[-1]["score"] is None
    assert all(isinstance(item["score"], float) for item in found[:-1])
    odd = (await memory.store.search_items([root], query="the cat", filter={"odd": True}))["items"]
    assert [item["key"] for item in odd] == ["1"]
    assert [item["score"] for item in (await memory.store.search_items([root]))["items"]] == [None] * 5


async def test_graphs_find_by_meaning(memory: LangGraphClient) -> None:
    values = await memory.runs.wait(
        None, "memory", input={"root": uuid4().hex, "facts": FACTS, "question": "is there snow in the mountains"}
    )
    assert values["recalled"] == [FACTS[2]]
    assert values["scores"][0] > 0.3


async def test_without_an_executor_a_put_is_refused_clearly_and_works_again_afterwards(
    indexed: Stack, memory: LangGraphClient
) -> None:
    root = uuid4().hex
    await indexed.stop_process("executor")
    try:
        async with httpx.AsyncClient(base_url=indexed.url, timeout=30) as http:
            refused = await http.put("/store/items", json={"namespace": [root], "key": "k", "value": {"text": "cat"}})
            assert refused.status_code == 503
            assert "no executor answers to embed" in refused.json()["detail"]
            assert (await http.get("/store/items", params={"namespace": root, "key": "k"})).json() is None
    finally:
        await indexed.start_process("executor")
    await memory.store.put_item([root], "k", {"text": "cat"})
    found = (await memory.store.search_items([root], query="cat"))["items"]
    assert found[0]["score"] == pytest.approx(1.0, abs=1e-3)
