"""What the descriptions of both HTTP APIs have in common, the admin port's and the items port's: OpenAPI 3.1's form.

What a port answers is for its own description to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def frame(
    title: str,
    version: str,
    about: str,
    *,
    tokens: str,
    paths: Schema,
    schemas: Schema,
    problems: Mapping[str, str],
) -> Schema:
    """A whole description. `tokens` says which token is for what; `problems` are the texts of the errors by their
    names, each of the schema `Problem`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": f"{about} Errors are application/problem+json.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": tokens}},
            "schemas": schemas,
            "responses": {name: _problem(text) for name, text in problems.items()},
        },
    }


def ref(schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{schema}"}


def problem(name: str) -> Schema:
    """An answer that is one of the description's problems."""
    return {"$ref": f"#/components/responses/{name}"}


def parameter(name: str, place: str, schema: Schema, about: str, *, required: bool = False) -> Schema:
    return {
        "name": name,
        "in": place,
        "required": required or place == "path",
        "schema": schema,
        "description": about,
    }


def _problem(text: str) -> Schema:
    return {"description": text, "content": {"application/problem+json": {"schema": ref("Problem")}}}
