"""What a process loads and never uses, it holds for as long as it runs."""

import subprocess
import sys

import pytest

UNUSED = ("rich", "uvicorn.protocols.websockets.websockets_sansio_impl")


@pytest.mark.parametrize(
    "process", ["threadmill_gateway", "threadmill_threads", "threadmill_store", "threadmill_runs.api"]
)
def test_a_process_starts_without_what_it_does_not_use(process: str) -> None:
    program = f"import sys, {process}.__main__; print([name for name in {UNUSED} if sys.modules.get(name)])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
