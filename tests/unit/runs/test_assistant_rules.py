"""What updates of assistants replace, as observed on the reference server."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from threadmill_runs.assistants.domain import Assistant, replaced

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG: dict[str, Any] = {"configurable": {"model": "A"}, "tags": ["o"], "recursion_limit": 7}
CONTEXT = {"model": "A"}
MIRRORED = ({"configurable": {"z": 1}}, {"z": 1})


@pytest.mark.parametrize(
    ("given", "config", "context"),
    [
        ({}, CONFIG, CONTEXT),
        ({"config": {}}, CONFIG, CONTEXT),
        ({"context": {}}, CONFIG, {}),
        ({"config": {}, "context": {}}, CONFIG, {}),
        ({"context": {"z": 1}}, *MIRRORED),
        ({"config": {}, "context": {"z": 1}}, *MIRRORED),
        ({"config": {"configurable": {"z": 1}}}, *MIRRORED),
        ({"config": {"configurable": {"z": 1}}, "context": {}}, *MIRRORED),
        ({"config": {"configurable": {}}, "context": {"z": 1}}, *MIRRORED),
        ({"config": {"tags": ["t"]}}, {"tags": ["t"]}, CONTEXT),
        ({"config": {"tags": ["t"]}, "context": {}}, {"tags": ["t"]}, {}),
        ({"config": {"tags": ["t"]}, "context": {"z": 1}}, {"tags": ["t"], **MIRRORED[0]}, {"z": 1}),
        ({"config": {"configurable": {}}}, {"configurable": {}}, CONTEXT),
        ({"config": {"configurable": {}, "tags": ["t"]}}, {"configurable": {}, "tags": ["t"]}, CONTEXT),
    ],
)
def test_what_an_update_replaces(given: dict[str, Any], config: dict[str, Any], context: dict[str, Any]) -> None:
    old = Assistant("id", "g", orjson.dumps(CONFIG), orjson.dumps(CONTEXT), b"{}", "name", None, 1, NOW, NOW)
    sent = [orjson.dumps(given[name]) if name in given else b"" for name in ("config", "context")]
    found = [orjson.loads(document) for document in replaced(old, *sent)]
    assert found == [config, context]
