"""OpenAPI 3.1 of the endpoints, from their declarations and the schemas of their models."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core.core_schema import WithDefaultSchema

from threadmill_gateway.models.answers import Error
from threadmill_gateway.routes.endpoint import Endpoint, Header

# The one path where a graph's name stands for its assistant.
GRAPH_PATH = "/assistants/{assistant_id}/graph"
REFERENCE = "#/components/schemas/{model}"
Schema = dict[str, Any]
JSON = "application/json"
TEXT = "text/plain"
# Without a content type, which OpenAPI has no words for.
BARE: Schema = {"type": "string", "description": "Names what is wrong; such a body comes without a Content-Type."}
RETRY_AFTER = Header("Retry-After", "Seconds to wait before the request is repeated")
DESCRIPTION = """A server of LangGraph applications.

Before any route is looked for, a request may be refused with the usual error body: 400 if it is no HTTP, 408 if its
head does not come in time, 431 if that is too large, and 503 if there are too many connections."""
_ID: Schema = {"type": "string", "format": "uuid"}
# Where a graph's name will do, or (for checkpoints) any text, the parameter is not listed.
_IN_PATH = {"thread_id": _ID, "run_id": _ID, "cron_id": _ID, "assistant_id": _ID}


class _WithoutNulls(GenerateJsonSchema):
    """Leaves out defaults of `None`, which mean "absent": most fields refuse an explicit null."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        """The schema of a field that has a default."""
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def openapi(endpoints: Sequence[Endpoint], version: str) -> Schema:
    """The document. Operation ids are the handlers' names, made unique by method and path where they serve twice."""
    schemas, components = _schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Threadmill", "version": version, "description": DESCRIPTION},
        "paths": paths,
        "components": {"schemas": components},
    }


def _schemas(endpoints: Iterable[Endpoint]) -> tuple[dict[str, Schema], Schema]:
    """Schema of each body and answer by its key, and the models that they refer to."""
    wanted: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [("error", "serialization", TypeAdapter(Error))]
    for endpoint in endpoints:
        if endpoint.problem is not None:
            wanted.append((f"error {_name(endpoint)}", "serialization", TypeAdapter(endpoint.problem)))
        if endpoint.body is not None:
            wanted.append((f"body {_name(endpoint)}", "validation", TypeAdapter(endpoint.body)))
        if endpoint.answer is not None:
            wanted.append((f"answer {_name(endpoint)}", "serialization", TypeAdapter(endpoint.answer)))
        for key, answer in (*endpoint.also, *endpoint.formats):
            if answer is not None:
                wanted.append((f"answer {key} {_name(endpoint)}", "serialization", TypeAdapter(answer)))
    found, definitions = TypeAdapter.json_schemas(wanted, ref_template=REFERENCE, schema_generator=_WithoutNulls)
    return {key: schema for (key, _), schema in found.items()}, definitions.get("$defs", {})


def _name(endpoint: Endpoint) -> str:
    return f"{endpoint.method.lower()}{re.sub(r'[^a-z_]+', '_', endpoint.path)}".rstrip("_")


def _operation(endpoint: Endpoint, schemas: dict[str, Schema]) -> Schema:
    operation: Schema = {
        "operationId": _name(endpoint),
        "summary": endpoint.summary,
        "description": (endpoint.handler.__doc__ or "").strip(),
        "tags": [_tag(endpoint.path)],
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.body is not None:
        schema = schemas[f"body {_name(endpoint)}"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _tag(path: str) -> str:
    first = path.split("/")[1]
    if "/runs" in path:
        return "runs"
    return first if first in ("assistants", "agents", "threads", "store") else "system"


def _parameters(endpoint: Endpoint) -> list[Schema]:
    by_name = _IN_PATH if not endpoint.path.endswith(GRAPH_PATH) else {}
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": by_name.get(name, {"type": "string", "minLength": 1})}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    in_query = [
        {"name": query.name, "in": "query", "description": query.description, "schema": query.schema}
        for query in endpoint.query
    ]
    return [*in_path, *in_query]


def _responses(endpoint: Endpoint, schemas: dict[str, Schema]) -> Schema:
    name = _name(endpoint)
    answers = {endpoint.media_type: schemas.get(f"answer {name}")}
    answers |= {media_type: schemas[f"answer {media_type} {name}"] for media_type, _ in endpoint.formats}
    found = {endpoint.status: _response(endpoint.status, answers, endpoint.headers)}
    for status, _ in endpoint.also:
        body = {JSON: schemas.get(f"answer {status} {name}")}
        found[status] = _response(status, body, endpoint.headers if status == HTTPStatus.OK else ())
    problem = schemas.get(f"error {name}", schemas["error"])
    for status in _failures(endpoint):
        headers = (RETRY_AFTER,) if status == HTTPStatus.SERVICE_UNAVAILABLE else ()
        found[status] = _response(status, {JSON: problem, TEXT: BARE if status in endpoint.bare else None}, headers)
    if endpoint.calls:
        found[500] = _response(500, {TEXT: {"type": "string"}})
    return {str(status): found[status] for status in sorted(found)}


def _response(status: int, bodies: dict[str, Schema | None], headers: Iterable[Header] = ()) -> Schema:
    """Of a status: its body in each media type, None where it has none, and the headers that come with a body."""
    described: Schema = {"description": HTTPStatus(status).phrase}
    content = {media_type: {"schema": schema} for media_type, schema in bodies.items() if schema is not None}
    if not content:
        return described
    described["content"] = content
    if shown := {header.name: _header(header) for header in headers}:
        described["headers"] = shown
    return described


def _header(header: Header) -> Schema:
    return {"description": header.description, "required": header.always, "schema": {"type": "string"}}


def _failures(endpoint: Endpoint) -> set[int]:
    """What an endpoint says of itself, and what all have in common: bodies too large or too slow, services away."""
    found = {*endpoint.errors, 422}
    if endpoint.body is not None:
        found |= {408, 413}
    if endpoint.calls:
        found |= {503, 504}
    return found - {status for status, _ in endpoint.also}
