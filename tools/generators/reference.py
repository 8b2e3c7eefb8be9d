"""`docs/reference/kinds/`: every field of every kind with type, default, bounds and rules, from the CRDs' schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tidemill_api.schema import Schema, crd
from tidemill_api.v1alpha1 import GROUP, KINDS, VERSION, Resource

FOLDER = "docs/reference/kinds"
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} entries",
    "pattern": "matches `{}`",
}


@dataclass(frozen=True)
class Field:
    """A field as the reference shows it."""

    path: str
    schema: Schema
    required: bool


def files() -> dict[str, str]:
    """One page a kind, and a list of them."""
    pages = {f"{kind.kind_name().lower()}.md": _page(kind) for kind in KINDS}
    listed = "\n".join(
        f"- [{kind.kind_name()}]({kind.kind_name().lower()}.md): {_schema(kind)['description'].splitlines()[0]}"
        for kind in KINDS
    )
    return {**pages, "README.md": f"# The kinds of `{GROUP}/{VERSION}`\n\n{_NOTE}\n\n{listed}\n"}


_NOTE = "Made by `make generate` from the models. `kubectl explain` shows the same."


def _schema(kind: type[Resource]) -> Schema:
    schema: Schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _page(kind: type[Resource]) -> str:
    schema = _schema(kind)
    served = kind.served
    lines = [
        f"# {kind.kind_name()}",
        "",
        _NOTE,
        "",
        _prose(schema["description"]),
        "",
        f"`apiVersion: {GROUP}/{VERSION}`, `kind: {kind.kind_name()}`",
        "",
        f"`kubectl get {served.plural}`, for short `kubectl get {served.short_name}`",
    ]
    for part in ("spec", "status"):
        lines += ["", f"## {part}", ""]
        lines += [line for field in _fields(part, schema["properties"][part]) for line in _entry(field)]
    return "\n".join(lines).rstrip() + "\n"


def _fields(path: str, schema: Mapping[str, Any]) -> Iterator[Field]:
    """All fields below a schema, depth first, in the order of the models."""
    required = schema.get("required", ())
    for name, child in schema.get("properties", {}).items():
        place = f"{path}.{name}"
        yield Field(place, child, name in required)
        yield from _below(place, child)
    if isinstance(extra := schema.get("additionalProperties"), Mapping):
        yield from _below(f"{path}.*", extra)


def _below(path: str, schema: Mapping[str, Any]) -> Iterator[Field]:
    if schema.get("type") == "array":
        yield from _below(f"{path}[]", schema["items"])
    else:
        yield from _fields(path, schema)


def _entry(field: Field) -> list[str]:
    schema = field.schema
    facts = [_type(schema), "required" if field.required else ""]
    if "default" in schema:
        facts.append(f"default `{json.dumps(schema['default'])}`")
    facts += _bounds(schema)
    if schema.get("type") == "array":
        facts += [f"each {bound}" for bound in _bounds(schema["items"])]
    lines = [f"### `{field.path}`", "", "; ".join(fact for fact in facts if fact) + "."]
    if description := schema.get("description"):
        lines += ["", _prose(description)]
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", ()) if "message" in rule]
    if rules:
        lines += ["", *(f"- Rule: {rule}" for rule in rules)]
    return [*lines, ""]


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    return [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(extra := schema.get("additionalProperties"), Mapping):
        return f"map to {_type(extra)}"
    return str(schema.get("type", "any"))


def _prose(text: str) -> str:
    return text.strip()
