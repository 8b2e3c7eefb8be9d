"""The schemas, from the models themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tidemill_api.schema import Schema, root
from tidemill_api.v1alpha1 import GROUP, KINDS, VERSION, Resource

FOLDER: Final = Path(".tidemill/schemas")
"""Where `tidemill new` puts them, relative to the manifests. Hidden: no tool takes them for manifests."""
ANY_KIND: Final = "all.json"
TEST_FILE: Final = "test-file.json"
_DRAFT: Final = "http://json-schema.org/draft-07/schema#"


def schemas() -> dict[str, str]:
    """The text of each schema by its file: one a kind, one that takes any of them, one of test files."""
    singles = {f"{kind.kind_name().lower()}.json": _kind(kind) for kind in KINDS}
    anyone: Schema = {"$schema": _DRAFT, "title": f"{GROUP}/{VERSION}"}
    anyone["oneOf"] = [{"$ref": name} for name in singles]
    texts = {name: _text(schema) for name, schema in singles.items()}
    return texts | {ANY_KIND: _text(anyone), TEST_FILE: _text(_test_file())}


def line(schema: str, folder: str = FOLDER.as_posix()) -> str:
    """The comment by which language servers for YAML find a file's schema."""
    return f"# yaml-language-server: $schema={folder}/{schema}"


def _kind(kind: type[Resource]) -> Schema:
    schema: Schema = _plain(root(kind, for_people=True))
    schema["properties"]["apiVersion"]["const"] = f"{GROUP}/{VERSION}"
    schema["properties"]["kind"]["const"] = kind.kind_name()
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return {"$schema": _DRAFT, "title": kind.kind_name(), **schema}


def _test_file() -> Schema:
    from tidemill_cli.testing.model import TestFile

    schema = _plain(TestFile.model_json_schema(by_alias=True))
    schema["definitions"] = schema.pop("$defs")
    moved: Schema = json.loads(json.dumps(schema).replace('"#/$defs/', '"#/definitions/'))
    return {"$schema": _DRAFT, **moved, "title": "Test file of tidemill test"}


def _plain(node: Any) -> Any:
    """Without what only Kubernetes reads; objects refuse fields that they don't have."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    plain = {name: _plain(value) for name, value in node.items() if not name.startswith("x-")}
    without_fields = set(node) == {"type", "description"}  # of ours; what Kubernetes describes has no description here
    if plain.get("type") == "object" and ("properties" in plain or without_fields):
        plain.setdefault("additionalProperties", False)
    return plain


def _text(schema: Schema) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
