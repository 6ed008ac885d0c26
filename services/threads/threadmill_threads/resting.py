"""What runs and updates leave on a thread, as parameters of the queries that record it."""

from typing import Any

from threadmill_threads.domain import RestingState, RunEnding


def resting_columns(state: RestingState) -> dict[str, Any]:
    """Of a resting state."""
    return {
        "rest_status": state.status and state.status.value,
        "values": state.values,
        "interrupts": state.interrupts,
        "error": state.error,
    }


def ending_columns(ending: RunEnding | None) -> dict[str, Any]:
    """Of the end of a run that goes with its last checkpoints; all null for writes that end none."""
    return {
        "ended_run_id": ending and ending.run_id,
        "stamp": ending and ending.stamp,
        **resting_columns(ending.resting if ending else RestingState()),
    }
