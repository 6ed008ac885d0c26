"""The JavaScript SDK in both of its generations: the tests in `js`, each file of them run by node's own test runner."""

import asyncio
import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from threadmill_cli.stack import Stack

from .conftest import ENVIRONMENT

SOURCES = Path(__file__).parent / "js"
FILES = sorted(file.name for file in SOURCES.glob("*.test.mjs"))
# `latest` of the npm registry, and the newest release, which continues the 1.x line: see package.json.
SDKS = ("@langchain/langgraph-sdk", "langgraph-sdk-1")
OLDEST_NODE = 20
INSTALL_SECONDS = 120
FILE_SECONDS = 150

pytestmark = pytest.mark.timeout(INSTALL_SECONDS + FILE_SECONDS + 60)


async def run(*command: str, folder: Path, environment: Mapping[str, str], seconds: float) -> tuple[int, str]:
    """Exit code, and what the command wrote. It is killed, with its children, when it takes longer."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # so that its children can be ended with it
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = await process.communicate()
        return -9, f"{out.decode(errors='replace')}\nkilled after {seconds} s"
    assert process.returncode is not None
    return process.returncode, out.decode(errors="replace")


@pytest.fixture(scope="session")
async def node() -> str:
    """Path of a node that can run the tests."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(f"the JavaScript SDK needs node and npm: {'node' if node is None else 'npm'} is not installed")
    _, version = await run(node, "--version", folder=SOURCES, environment=ENVIRONMENT, seconds=30)
    if int(version.strip().removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"the JavaScript SDK needs node {OLDEST_NODE} or newer, this is {version.strip()}")
    return node


@pytest.fixture(scope="session")
async def modules(node: str) -> Path:
    """The installed packages: once for each lock file, beside the virtual environment's own."""
    pins = [SOURCES / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in pins)).hexdigest()[:16]
    installed = Path(sys.prefix) / "javascript-sdk" / digest
    if not installed.exists():
        # Made complete elsewhere, then moved: an interrupted or a simultaneous installation does no harm.
        growing = installed.with_name(f"{digest}.{os.getpid()}")
        growing.mkdir(parents=True)
        for file in pins:
            shutil.copy(file, growing)
        npm = ("npm", "ci", "--no-audit", "--no-fund")
        code, out = await run(*npm, folder=growing, environment=os.environ, seconds=INSTALL_SECONDS)
        assert code == 0, f"npm ci failed:\n{out}"
        with suppress(OSError):  # another session was faster
            growing.rename(installed)
        shutil.rmtree(growing, ignore_errors=True)
        assert installed.is_dir()
    return installed / "node_modules"


@pytest.fixture(scope="session")
def suite(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tests where node finds the packages."""
    folder = tmp_path_factory.mktemp("javascript")
    for file in SOURCES.glob("*.mjs"):
        shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(modules)
    return folder


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("sdk", SDKS)
async def test_javascript_sdk(stack: Stack, node: str, suite: Path, tmp_path: Path, sdk: str, file: str) -> None:
    environment = {**ENVIRONMENT, "THREADMILL_URL": stack.url, "LANGGRAPH_SDK": sdk, "TMPDIR": str(tmp_path)}
    environment["NODE_OPTIONS"] = "--experimental-websocket"  # newer ones than 20 need not be told
    command = (node, "--test", "--test-reporter=spec", "--test-timeout=60000", file)
    code, out = await run(*command, folder=suite, environment=environment, seconds=FILE_SECONDS)
    assert code == 0, f"{sdk}, {file}:\n{out}"
