"""Schemathesis over both OpenAPI documents: no 5xx, documented statuses, answers as their schemas say."""

from pathlib import Path

import orjson
import pytest
from threadmill_cli.stack import Stack

from .conftest import RUN_SECONDS, Fuzz
from .deviations import as_served

AGENT_PROTOCOL = Path(__file__).parents[2] / "unit" / "gateway" / "agent_protocol.openapi.json"
COMMANDS = r"^/threads/\{thread_id\}/commands"
# A stream of a thread has no end. Commands have a test of their own.
APART = rf"{COMMANDS}|^/threads/\{{thread_id\}}/stream"
PHASES = ("--phases", "coverage,fuzzing", "--max-examples", "6")
BOUNDED = (*PHASES, "--exclude-path-regex", APART)

pytestmark = pytest.mark.timeout(RUN_SECONDS + 60)


async def test_our_own_document(stack: Stack, fuzz: Fuzz) -> None:
    await fuzz(f"{stack.url}/openapi.json", *BOUNDED)


async def test_commands_of_our_own_document(stack: Stack, fuzz: Fuzz) -> None:
    await fuzz(f"{stack.url}/openapi.json", *PHASES, "--include-path-regex", COMMANDS)


async def test_agent_protocol(fuzz: Fuzz, tmp_path: Path) -> None:
    document = tmp_path / "agent_protocol.json"
    document.write_bytes(orjson.dumps(as_served(orjson.loads(AGENT_PROTOCOL.read_bytes()))))
    await fuzz(str(document), *BOUNDED)
