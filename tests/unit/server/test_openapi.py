"""The document describes every route, and every reference in it leads somewhere."""

from __future__ import annotations

import json
import re

from relay_runner.protocol.wire import encode
from relay_runner.server.openapi import document
from relay_runner.server.routes import ROUTES


def test_every_route_is_described() -> None:
    made = json.loads(encode(document(ROUTES)))
    assert made["openapi"].startswith("3.1")
    assert {(route.path, route.method.lower()) for route in ROUTES} == {
        (path, method) for path, operations in made["paths"].items() for method in operations
    }
    for operations in made["paths"].values():
        for operation in operations.values():
            assert operation["summary"] and "default" in operation["responses"]


def test_every_reference_leads_somewhere_and_names_are_camel_case() -> None:
    text = encode(document(ROUTES)).decode()
    schemas = json.loads(text)["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= set(schemas)
    assert {"NewMessage", "MessageRecord", "Receipt", "TokenGrant", "ProblemBody"} <= set(schemas)
    names = {name for schema in schemas.values() for name in schema.get("properties", {})}
    assert "claimExpiresAt" in names and not [name for name in names if "_" in name]


def test_paths_name_their_parameters() -> None:
    made = document(ROUTES)
    (parameter,) = made["paths"]["/api/v1/tokens/{jti}"]["delete"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("jti", "path", True)
    names = [entry["name"] for entry in made["paths"]["/api/v1/messages"]["get"]["parameters"]]
    assert {"states", "open"} <= set(names) and "oldestFirst" in names
