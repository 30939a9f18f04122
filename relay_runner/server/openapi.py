"""The OpenAPI document, generated from the route table and the wire types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from relay_runner import __version__
from relay_runner.protocol.calls import ProblemBody
from relay_runner.server.http import File, Route, Stream, Text

KINDS: dict[Any, str] = {Stream: "text/event-stream", Text: "text/plain", File: "application/octet-stream"}
_NAME = re.compile(r"{(\w{1,100})}")
REF = "#/components/schemas/{name}"


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the whole document."""
    types = [type_ for route in routes for type_ in (route.takes, route.gives) if _is_json(type_)] + [ProblemBody]
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    found = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, found)
    return {
        "openapi": "3.1.0",
        "info": {"title": "relay-runner relay", "version": __version__},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


def _is_json(type_: Any) -> bool:
    return type_ is not None and type_ not in (File, Stream, Text)


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": route.summary, "parameters": _parameters(route)}
    if route.takes is not None:
        content = {"application/json": {"schema": schemas[repr(route.takes)]}}
        operation["requestBody"] = {"required": not route.optional_body, "content": content}
    if route.raw:
        schema = {"type": "string", "format": "binary"}
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": schema}}}
    if route.gives is None:
        answer: dict[str, Any] = {"204": {"description": "done"}}
    elif route.gives in KINDS:
        kind = KINDS[route.gives]
        answer = {"200": {"description": route.summary, "content": {kind: {"schema": {"type": "string"}}}}}
    else:
        content = {"application/json": {"schema": schemas[repr(route.gives)]}}
        answer = {str(route.status): {"description": route.summary, "content": content}}
    problem = {"application/json": {"schema": schemas[repr(ProblemBody)]}}
    operation["responses"] = answer | {"default": {"description": "refused, and why", "content": problem}}
    if route.open:
        operation["security"] = []
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _NAME.findall(route.path)
    ]
    in_query = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in (route.parameters or {}).items()
    ]
    return in_path + in_query
