"""The example of README.md does what README.md says."""

import asyncio
import re
import sys
from pathlib import Path

from threadmill_cli.stack import Stack

from .conftest import ENVIRONMENT

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8123"


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


async def test_example_prints_what_the_readme_says(stack: Stack, tmp_path: Path) -> None:
    (program,) = blocks("python")
    (printed,) = blocks("text")
    assert ADDRESS in program
    file = tmp_path / "example.py"
    file.write_text(program.replace(ADDRESS, stack.url), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=ENVIRONMENT
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    assert out.decode() == printed
