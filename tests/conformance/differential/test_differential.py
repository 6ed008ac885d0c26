"""The same requests to the reference and to Threadmill: statuses, headers, bodies and streams must agree.

`make conformance` starts both (servers.py). With servers that run already, both on the application of
`servers.copy_application`:
`python -m pytest tests/conformance/differential --reference-url http://… --threadmill-url http://…`
"""

import pytest

from . import (
    assistant_scripts,
    bad_input_scripts,
    cron_scripts,
    graph_scripts,
    protocol_scripts,
    run_config_scripts,
    run_control_scripts,
    run_error_scripts,
    run_scripts,
    store_scripts,
    stream_scripts,
    system_scripts,
    thread_scripts,
)
from .deliberate import reason_for
from .recordings import Recordings
from .report import Report, differences
from .scripts import ALONE, SCRIPTS

# Importing them fills SCRIPTS.
AREAS = (run_scripts, run_control_scripts, run_error_scripts, stream_scripts, thread_scripts)
AREAS += (run_config_scripts, assistant_scripts, store_scripts, system_scripts, graph_scripts, cron_scripts)
AREAS += (bad_input_scripts, protocol_scripts)


@pytest.mark.parametrize("name", sorted(SCRIPTS, key=ALONE.__contains__))
async def test_same_answers(name: str, recordings: Recordings, report: Report) -> None:
    reference, threadmill = await recordings.of(name)
    found = [(difference, reason_for(name, difference)) for difference in differences(reference, threadmill)]
    unexpected = [difference for difference, reason in found if reason is None]
    report.write(name, unexpected, [(difference, reason) for difference, reason in found if reason is not None])
    assert not unexpected, "\n" + "\n".join(map(str, unexpected))
