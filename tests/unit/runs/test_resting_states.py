"""The state in which a run leaves its thread, for every way in which it may end."""

import orjson
import pytest
from threadmill_protos.runs.v1 import executors_pb2
from threadmill_protos.threads.v1 import threads_pb2
from threadmill_runs.queue.ending import Ending, lost_outcome, resting_state
from threadmill_runs.queue.run import CancelAction

Outcome = executors_pb2.Outcome
BAD = {"error": "ValueError", "message": "bad"}
SUPERSEDED = {"error": "UserInterrupt", "message": "why"}


@pytest.mark.parametrize(
    ("outcome", "cancel", "state", "error"),
    [
        (Outcome(result=Outcome.RESULT_SUCCESS), None, "IDLE", None),
        (Outcome(result=Outcome.RESULT_SUCCESS, has_next=True), None, "INTERRUPTED", None),
        (Outcome(result=Outcome.RESULT_ERROR, error_json=orjson.dumps(BAD)), None, "ERROR", BAD),
        (Outcome(result=Outcome.RESULT_ERROR, error_json=orjson.dumps(BAD), has_next=True), None, "ERROR", BAD),
        (Outcome(result=Outcome.RESULT_ERROR), None, "ERROR", None),
        (Outcome(result=Outcome.RESULT_TIMEOUT, error_json=orjson.dumps(BAD)), None, "ERROR", BAD),
        (Outcome(result=Outcome.RESULT_CANCELLED, has_next=True), CancelAction.INTERRUPT, "INTERRUPTED", SUPERSEDED),
        (Outcome(result=Outcome.RESULT_CANCELLED), CancelAction.INTERRUPT, "IDLE", SUPERSEDED),
        (lost_outcome("RunLost", "gone"), None, "ERROR", {"error": "RunLost", "message": "gone"}),
        (
            Outcome(result=Outcome.RESULT_CANCELLED, has_next=True),
            CancelAction.ROLLBACK,
            "IDLE",
            {"error": "UserRollback", "message": "why"},
        ),
    ],
)
def test_state_and_error(outcome, cancel, state, error):
    resting = resting_state(Ending(outcome, cancel, "why"))
    assert threads_pb2.ThreadState.Name(resting.state) == f"THREAD_STATE_{state}"
    assert orjson.loads(resting.error_json) == error


def test_values_and_interrupts_stay_as_they_are_unless_the_outcome_says():
    silent = resting_state(Ending(Outcome(result=Outcome.RESULT_SUCCESS)))
    assert (silent.values_json, silent.interrupts_json) == (b"", b"")
    outcome = Outcome(result=Outcome.RESULT_SUCCESS, values_json=b"{}", interrupts_json=b'{"t":[]}')
    telling = resting_state(Ending(outcome))
    assert (telling.values_json, telling.interrupts_json) == (b"{}", b'{"t":[]}')


def test_a_rollback_tells_nothing_of_what_was_undone():
    outcome = Outcome(result=Outcome.RESULT_CANCELLED, values_json=b'{"undone":1}', interrupts_json=b'{"t":[]}')
    resting = resting_state(Ending(outcome, CancelAction.ROLLBACK))
    assert (resting.values_json, resting.interrupts_json) == (b"", b"")
