"""`docs/reference/schemas/`: JSON Schemas of the kinds, by which editors complete and check manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tidemill_api.schema import Schema, root
from tidemill_api.v1alpha1 import GROUP, KINDS, VERSION, Resource

FOLDER = "docs/reference/schemas"


def files() -> dict[str, str]:
    """One file a kind, and one that takes any of them."""
    singles = {kind.kind_name(): _schema(kind) for kind in KINDS}
    anyone: Schema = {"$schema": _DRAFT, "title": f"{GROUP}/{VERSION}"}
    anyone["oneOf"] = [{"$ref": f"{name.lower()}.json"} for name in singles]
    return {f"{name.lower()}.json": _text(schema) for name, schema in singles.items()} | {"all.json": _text(anyone)}


_DRAFT = "http://json-schema.org/draft-07/schema#"


def _schema(kind: type[Resource]) -> Schema:
    schema = _plain(root(kind, for_people=True))
    schema["properties"]["apiVersion"]["const"] = f"{GROUP}/{VERSION}"
    schema["properties"]["kind"]["const"] = kind.kind_name()
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return {"$schema": _DRAFT, "title": kind.kind_name(), **schema}


def _plain(node: Any) -> Any:
    """Without what only Kubernetes reads; objects refuse fields that they don't have."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    plain = {name: _plain(value) for name, value in node.items() if not name.startswith("x-")}
    if "properties" in plain and plain.get("type") == "object":
        plain.setdefault("additionalProperties", False)
    return plain


def _text(schema: Schema) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
