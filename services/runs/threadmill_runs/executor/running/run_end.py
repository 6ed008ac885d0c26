"""What a run that succeeded leaves on its thread, told to threads with its last checkpoint."""

import orjson
from threadmill_protos.runs.v1 import executors_pb2
from threadmill_protos.threads.v1 import threads_pb2


def run_end(assignment: executors_pb2.AttachResponse.Assignment, outcome: executors_pb2.Outcome) -> threads_pb2.RunEnd:
    """The same as the runs api would record for this outcome (queue/ending.py)."""
    return threads_pb2.RunEnd(
        resting=threads_pb2.RestingState(
            state=threads_pb2.THREAD_STATE_INTERRUPTED if outcome.has_next else threads_pb2.THREAD_STATE_IDLE,
            values_json=outcome.values_json,
            interrupts_json=outcome.interrupts_json,
            error_json=b"null",
        ),
        stamp_metadata_json=orjson.dumps({"graph_id": assignment.graph_id, "assistant_id": assignment.assistant_id}),
    )
