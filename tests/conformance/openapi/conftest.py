"""One running system for the generated requests, and the program that generates them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import orjson
import pytest
from threadmill_cli.stack import Stack, StackOptions, open_stack

HERE = Path(__file__).parent
# Nothing else of the developer's shell: no model key, no database.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
RUN_SECONDS = 240
# What is held against the document. Whether a request that its schema allows is also accepted, and the reverse, is
# not: ids that do not exist, graphs' own errors and ignored unknown fields are no matter of a schema.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"

Fuzz = Callable[..., Awaitable[None]]


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Every process of Threadmill with two small graphs."""
    options = StackOptions(
        configs=(HERE / "langgraph.json",),
        data=tmp_path_factory.mktemp("data"),
        environment=ENVIRONMENT,
        log_level="warning",
        extra={"gateway": {"THREADMILL_HEARTBEAT_SECONDS": "1", "THREADMILL_WEBHOOK_ALLOW_LOOPBACK": "true"}},
    )
    async with open_stack(options) as started:
        yield started


async def make_known(url: str) -> dict[str, str]:
    """Ids of things that exist, by the name of the path's parameter."""
    async with httpx.AsyncClient(base_url=url) as client:

        async def post(path: str, **body: object) -> dict[str, str]:
            found: dict[str, str] = (await client.post(path, json=body)).raise_for_status().json()
            return found

        assistant = await post("/assistants", graph_id="ask")
        thread = await post("/threads", metadata={"graph_id": "ask"})
        run = await post(f"/threads/{thread['thread_id']}/runs", assistant_id="ask", input={"question": "?"})
        cron = await post("/runs/crons", assistant_id="ask", schedule="0 0 1 1 *")
        await client.get(f"/threads/{thread['thread_id']}/runs/{run['run_id']}/join")
        state = (await client.get(f"/threads/{thread['thread_id']}/state")).json()
    return {
        "assistant_id": assistant["assistant_id"],
        "agent_id": assistant["assistant_id"],
        "thread_id": thread["thread_id"],
        "run_id": run["run_id"],
        "cron_id": cron["cron_id"],
        "checkpoint_id": state["checkpoint_id"],
    }


@pytest.fixture
def fuzz(stack: Stack, tmp_path: Path) -> Fuzz:
    """Runs schemathesis over a document: the same requests each time. Fails with its report."""

    async def run(document: str, *options: str) -> None:
        known = orjson.dumps(await make_known(stack.url)).decode()
        command = (Path(sys.executable).with_name("schemathesis"), "run", document, "--url", stack.url)
        settled = ("--generation-deterministic", "--suppress-health-check", "all", "--no-color")
        process = await asyncio.create_subprocess_exec(
            *command,
            *settled,
            *("--checks", CHECKS, "--request-timeout", "20", "--continue-on-failure", *options),
            cwd=tmp_path,
            env={**ENVIRONMENT, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "KNOWN_IDS": known},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # so that its children can be ended with it
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert process.returncode == 0, out.decode(errors="replace")

    return run
