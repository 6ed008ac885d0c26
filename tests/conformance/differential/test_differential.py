"""The same requests to the reference and to Threadmill: statuses, headers, bodies and streams must agree.

Start both servers with the application of tests/e2e/app, then:
`python -m pytest tests/conformance/differential --reference-url http://… --threadmill-url http://…`
"""

import asyncio

import pytest

from . import (
    assistant_scripts,
    run_control_scripts,
    run_error_scripts,
    run_scripts,
    store_scripts,
    stream_scripts,
    system_scripts,
    thread_scripts,
)
from .deliberate import reason_for
from .recording import Recorder
from .report import Report, differences
from .scripts import SCRIPTS

# Importing them fills SCRIPTS.
AREAS = (run_scripts, run_control_scripts, run_error_scripts, stream_scripts, thread_scripts)
AREAS += (assistant_scripts, store_scripts, system_scripts)


@pytest.mark.parametrize("name", SCRIPTS)
async def test_same_answers(name: str, recorders: tuple[Recorder, Recorder], report: Report) -> None:
    reference, threadmill = recorders
    await asyncio.gather(SCRIPTS[name](reference), SCRIPTS[name](threadmill))
    found = [(difference, reason_for(name, difference)) for difference in differences(reference, threadmill)]
    unexpected = [difference for difference, reason in found if reason is None]
    report.write(name, unexpected, [(difference, reason) for difference, reason in found if reason is not None])
    assert not unexpected, "\n" + "\n".join(map(str, unexpected))
