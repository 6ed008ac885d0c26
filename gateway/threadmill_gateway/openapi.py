"""OpenAPI 3.1 of the endpoints, from their declarations and the schemas of their models."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core.core_schema import WithDefaultSchema

from threadmill_gateway.models.answers import Error
from threadmill_gateway.routes.endpoint import Endpoint

REFERENCE = "#/components/schemas/{model}"
Schema = dict[str, Any]


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
        "info": {"title": "Threadmill", "version": version, "description": "A server of LangGraph applications."},
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
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    in_query = [
        {"name": query.name, "in": "query", "description": query.description, "schema": query.schema}
        for query in endpoint.query
    ]
    return [*in_path, *in_query]


def _responses(endpoint: Endpoint, schemas: dict[str, Schema]) -> Schema:
    done: Schema = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.answer is not None:
        done["content"] = {endpoint.media_type: {"schema": schemas[f"answer {_name(endpoint)}"]}}
    failed = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": schemas.get(f"error {_name(endpoint)}", schemas["error"])}},
        }
        for status in endpoint.errors
    }
    return {str(endpoint.status): done, **failed}
