"""The examples of README.md and of docs do what these pages say."""

import asyncio
import re
import sys
from pathlib import Path

import pytest
from threadmill_cli.stack import Stack

from .conftest import ENVIRONMENT

ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8123"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language on a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/thread-streaming.md"])
async def test_example_prints_what_its_page_says(page: str, stack: Stack, tmp_path: Path) -> None:
    (program,) = blocks(page, "python")
    (printed,) = blocks(page, "text")
    assert ADDRESS in program
    file = tmp_path / "example.py"
    file.write_text(program.replace(ADDRESS, stack.url), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=ENVIRONMENT
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    assert out.decode() == printed
