"""LangGraph's own conformance suite for checkpointers, every capability, against GrpcSaver and the real service."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from threadmill_runs.executor.checkpoints.saver import GrpcSaver


@pytest.mark.parametrize("capability", [capability.value for capability in Capability])
async def test_capability(capability: str, threads_service: Any, user_thread: Any) -> None:
    @checkpointer_test(name="GrpcSaver")
    async def make() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
        yield GrpcSaver(threads_service.checkpoints, threads_service.control_loop)

    # On a user loop, as in production: every call crosses to the control loop and back.
    report = await user_thread.run(validate(make, capabilities={capability}))
    result = report.results[capability]
    assert result.failures == []
    assert result.passed
    assert result.tests_passed > 0
