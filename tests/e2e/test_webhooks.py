"""Webhooks of a system that may call this machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import StackOptions, open_stack
from webhook_receiver import receiving

from .conftest import APP, ENVIRONMENT

LOCAL = {"THREADMILL_WEBHOOK_ALLOW_LOOPBACK": "true"}


@pytest.fixture(scope="module")
async def local(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LangGraphClient]:
    """A client of a system of its own."""
    data: Path = tmp_path_factory.mktemp("webhooks")
    options = StackOptions(
        configs=(APP,), data=data, environment=ENVIRONMENT, extra={"gateway": LOCAL, "runs": {**LOCAL}}
    )
    async with open_stack(options) as stack, get_client(url=stack.url) as client:
        yield client


async def test_run_on_a_thread_tells_its_values(local: LangGraphClient) -> None:
    thread = await local.threads.create()
    async with receiving() as receiver:
        run = await local.runs.create(thread["thread_id"], "echo", input={"text": "hi"}, webhook=receiver.url)
        body = (await receiver.call()).body
    assert (body["run_id"], body["status"]) == (run["run_id"], "success")
    assert body["values"] == {"text": "hi", "answer": "echo: hi"}
    now = await local.runs.get(thread["thread_id"], run["run_id"])
    assert {key: body[key] for key in now} == now


async def test_pause_for_a_human_is_a_success(local: LangGraphClient) -> None:
    thread = await local.threads.create()
    async with receiving() as receiver:
        await local.runs.create(thread["thread_id"], "ask", input={}, webhook=receiver.url)
        body = (await receiver.call()).body
    assert body["status"] == "success"
    assert "__interrupt__" not in (body["values"] or {})


async def test_failed_run_tells_its_error(local: LangGraphClient) -> None:
    async with receiving() as receiver:
        await local.runs.create(None, "failing", input={}, webhook=receiver.url)
        body = (await receiver.call()).body
    assert (body["status"], body["values"]) == ("error", None)
    assert set(body["error"]) == {"error", "message"}


async def test_cron_tells_too(local: LangGraphClient) -> None:
    async with receiving() as receiver:
        cron = await local.crons.create("echo", schedule="* * * * * *", input={"text": "tick"}, webhook=receiver.url)
        body = (await receiver.call()).body
        await local.crons.delete(dict(cron)["cron_id"])
    assert body["kwargs"]["input"] == {"text": "tick"}
