"""`docs/reference/test-files/`: every field of a `NAME.test.yaml`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tidemill_cli.testing.model import TestFile

FOLDER = "docs/reference/test-files"
_NOTE = "Made by `make generate` from `cli/src/tidemill_cli/testing/model.py`; edit that."
_HEAD = f"""# Test files

{_NOTE}

`tidemill test` reads files `NAME.test.yaml` ([how to write them](../../how-to/test.md)). Editors complete
and check them by [a JSON Schema](../schemas/test-file.json).
"""


def files() -> dict[str, str]:
    """One page."""
    schema = TestFile.model_json_schema(by_alias=True)
    return {"README.md": "\n".join([_HEAD, *_fields("", schema, schema["$defs"])]).rstrip() + "\n"}


def _fields(path: str, schema: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    for rule in schema.get("x-tidemill-rules", ()):
        yield f"- Rule: {rule['message']}\n"
    for name, field in schema.get("properties", {}).items():
        place = f"{path}.{name}".removeprefix(".")
        outer, inner = _inner(field, known)
        facts = [_type(field, known)]
        if name in schema.get("required", ()):
            facts.append("required")
        elif field.get("default") not in (None, [], {}):
            facts.append(f"default `{json.dumps(field['default'])}`")
        yield f"### `{place}`\n\n{'; '.join(facts)}.\n\n{field.get('description', '')}\n"
        yield from _fields(f"{place}{outer}", inner, known)


def _inner(field: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """What a field holds, and how a path goes on to it."""
    field = _real(field, known)
    if field.get("type") == "array":
        return "[]", _real(field["items"], known)
    if isinstance(extra := field.get("additionalProperties"), Mapping):
        return ".*", _real(extra, known)
    return "", field


def _real(field: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema behind a reference, or beside null."""
    if "$ref" in field:
        return _real(known[field["$ref"].rpartition("/")[2]], known)
    branches = [each for each in field.get("anyOf", ()) if each.get("type") != "null"]
    return _real(branches[0], known) if len(branches) == 1 else field


def _type(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    field = _real(field, known)
    if branches := field.get("anyOf"):
        return " or ".join(_type(each, known) for each in branches if each.get("type") != "null")
    if field.get("type") == "array":
        return f"list of {_type(field['items'], known)}"
    if isinstance(extra := field.get("additionalProperties"), Mapping):
        return f"map to {_type(extra, known)}"
    if field.get("additionalProperties") is True:
        return "map to any values"
    return str(field.get("type", "any value"))
