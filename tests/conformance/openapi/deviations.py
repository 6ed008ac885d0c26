"""Where, on paths that both APIs have, the LangGraph API decides, and so the Agent Protocol's document is not met.

`contract/agent_protocol.md` lists them; LangGraph's clients rely on each. Everything else of the document holds.
"""

from typing import Any

Document = dict[str, Any]


def as_served(document: Document) -> Document:
    """The published document (changed in place) with our deviations."""
    _threads(document)
    _store(document["paths"])
    _streams(document["paths"])
    return document


def _streams(paths: Document) -> None:
    # The document means the whole stream by "string", where schemathesis holds each event against the schema …
    for path in ("/runs/stream", "/runs/{run_id}/stream"):
        for operation in paths[path].values():
            # … and describes the stream of an existing run as JSON without a schema.
            operation["responses"]["200"]["content"] = {"text/event-stream": {"schema": {}}}


def _threads(document: Document) -> None:
    # A thread that never ran has `values: null`; its LangGraph representation is a superset of the protocol's.
    document["components"]["schemas"]["Thread"]["properties"]["values"] = {}
    # LangGraph: a malformed id is 400 here, an unknown thread 409.
    responses = document["paths"]["/threads/{thread_id}/copy"]["post"]["responses"]
    responses["400"] = responses["409"] = {"description": "refused", "content": _details()}


def _store(paths: Document) -> None:
    # LangGraph: a label that no namespace can have is refused with bare text …
    for path, methods in paths.items():
        for operation in methods.values() if path.startswith("/store/") else ():
            operation["responses"]["422"] = {"description": "refused"}
    # … a namespace without labels, or whose first is reserved, is 400 …
    paths["/store/items"]["put"]["responses"]["400"] = {"description": "refused", "content": _details()}
    # … a missing item is 200 and `null`, a missing key 400 …
    get = paths["/store/items"]["get"]["responses"]
    get["200"]["content"]["application/json"]["schema"] = {}
    get["400"] = {"description": "refused", "content": {"application/json": {"schema": {}}}}
    # … and namespaces are wrapped in an object.
    listed = paths["/store/namespaces"]["post"]["responses"]["200"]["content"]["application/json"]
    listed["schema"] = {"type": "object", "properties": {"namespaces": listed["schema"]}, "required": ["namespaces"]}


def _details() -> Document:
    schema = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    return {"application/json": {"schema": schema}}
