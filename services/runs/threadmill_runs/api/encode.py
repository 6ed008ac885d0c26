"""Domain objects to protobuf, and back where requests need it."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from threadmill_protos.runs.v1 import assistants_pb2, runs_pb2

from threadmill_runs.assistants.domain import Assistant, Graph
from threadmill_runs.queue.run import CancelAction, Run, RunState, Strategy

RUN_STATES = {
    RunState.PENDING: runs_pb2.RUN_STATE_PENDING,
    RunState.RUNNING: runs_pb2.RUN_STATE_RUNNING,
    RunState.SUCCESS: runs_pb2.RUN_STATE_SUCCESS,
    RunState.ERROR: runs_pb2.RUN_STATE_ERROR,
    RunState.TIMEOUT: runs_pb2.RUN_STATE_TIMEOUT,
    RunState.INTERRUPTED: runs_pb2.RUN_STATE_INTERRUPTED,
}
STATE_OF_PROTO = {proto: state for state, proto in RUN_STATES.items()}
STRATEGIES = {
    Strategy.ENQUEUE: runs_pb2.MULTITASK_STRATEGY_ENQUEUE,
    Strategy.REJECT: runs_pb2.MULTITASK_STRATEGY_REJECT,
    Strategy.INTERRUPT: runs_pb2.MULTITASK_STRATEGY_INTERRUPT,
    Strategy.ROLLBACK: runs_pb2.MULTITASK_STRATEGY_ROLLBACK,
}
ACTION_OF_PROTO = {
    runs_pb2.CANCEL_ACTION_UNSPECIFIED: CancelAction.INTERRUPT,
    runs_pb2.CANCEL_ACTION_INTERRUPT: CancelAction.INTERRUPT,
    runs_pb2.CANCEL_ACTION_ROLLBACK: CancelAction.ROLLBACK,
}


def timestamp(moment: datetime) -> Timestamp:
    """A moment with its microseconds."""
    proto = Timestamp()
    proto.FromDatetime(moment)
    return proto


def run_proto(run: Run) -> runs_pb2.Run:
    """A run as clients may see it."""
    return runs_pb2.Run(
        run_id=run.run_id,
        thread_id=run.thread_id,
        assistant_id=run.assistant_id,
        state=RUN_STATES[run.state],
        metadata_json=run.metadata_json,
        kwargs_json=run.kwargs_json,
        multitask_strategy=STRATEGIES[run.strategy],
        create_time=timestamp(run.created_at),
        update_time=timestamp(run.updated_at),
        attempt=run.attempt,
    )


def assistant_proto(assistant: Assistant) -> assistants_pb2.Assistant:
    """An assistant as clients may see it."""
    return assistants_pb2.Assistant(
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        config_json=assistant.config_json,
        context_json=assistant.context_json,
        metadata_json=assistant.metadata_json,
        name=assistant.name,
        description=assistant.description,
        create_time=timestamp(assistant.created_at),
        update_time=timestamp(assistant.updated_at),
        version=assistant.version,
    )


def graph_proto(graph: Graph) -> assistants_pb2.Graph:
    """A graph that executors serve."""
    return assistants_pb2.Graph(
        graph_id=graph.graph_id, name=graph.name, description=graph.description, error=graph.error
    )
