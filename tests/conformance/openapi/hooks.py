"""What schemathesis is told about our requests: most should reach something that exists, none should wait for hours."""

import json
import os
from typing import Any

import schemathesis
from schemathesis import HookContext

GRAPHS = ("echo", "ask")
# Ids of things that exist. Deletions spare them.
KNOWN: dict[str, str] = json.loads(os.environ["KNOWN_IDS"])


@schemathesis.hook
def map_path_parameters(context: HookContext, parameters: Any) -> Any:
    """Names things that exist in half of the requests."""
    if not parameters or context.operation is None or context.operation.method.upper() == "DELETE":
        return parameters
    exist = sum(len(str(value)) + ord(str(value)[-1:] or "x") for value in parameters.values()) % 2 == 0
    return {name: KNOWN.get(name, value) if exist else value for name, value in parameters.items()}


@schemathesis.hook
def map_body(_: HookContext, body: Any) -> Any:
    """Names a graph that exists in four of five bodies, and lets runs start at once."""
    for document in body if isinstance(body, list) else [body]:
        if isinstance(document, dict):
            _mend(document)
    return body


@schemathesis.hook
def after_call(_: HookContext, case: Any, response: Any) -> None:
    """Lets bare text of the store pass for text: OpenAPI cannot say that a body has no content type."""
    bare = response.status_code == 422 and "content-type" not in response.headers
    if bare and case.operation.path.startswith("/store/"):
        response.headers["content-type"] = ["text/plain"]


def _mend(document: dict[str, Any]) -> None:
    for key in ("assistant_id", "agent_id", "graph_id"):
        name = document.get(key)
        if isinstance(name, str) and len(name) % 5 != 4:
            document[key] = GRAPHS[len(name) % 2]
    if isinstance(document.get("after_seconds"), int | float):
        document["after_seconds"] = 0
    document.pop("webhook", None)
