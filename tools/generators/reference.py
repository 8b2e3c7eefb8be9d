"""`docs/reference/kinds/`: every field of every kind with its type, default, bounds, description and rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tidemill_api.schema import Schema, root
from tidemill_api.v1alpha1 import GROUP, KINDS, VERSION, Resource

FOLDER = "docs/reference/kinds"
_NOTE = "Made by `make generate` from the models in `api/src/tidemill_api/v1alpha1`; edit those."
_PATTERN = re.compile(r"(\^\S+\$)")
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
_SINGULAR = {"1 characters": "1 character", "1 items": "1 item"}


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
        f"- [{kind.kind_name()}]({kind.kind_name().lower()}.md): {root(kind)['description']}" for kind in KINDS
    )
    title = f"# The kinds of `{GROUP}/{VERSION}`"
    editors = "Editors complete and check manifests by the JSON Schemas in [schemas](../schemas)."
    return {**pages, "README.md": f"{title}\n\n{_NOTE}\n\n{listed}\n\n{editors}\n"}


def _page(kind: type[Resource]) -> str:
    schema = root(kind, for_people=True)
    plural, short = kind.served.plural, kind.served.short_name
    lines = [
        f"# {kind.kind_name()}",
        "",
        _NOTE,
        "",
        schema["description"],
        "",
        f"`apiVersion: {GROUP}/{VERSION}`, `kind: {kind.kind_name()}`. `kubectl get {plural}`, for short `{short}`.",
    ]
    for part in ("spec", "status"):
        whole = Field(part, schema["properties"][part], required=part == "spec")
        lines += ["", f"## {part}", "", str(whole.schema["description"]), ""]
        if rules := list(_rules(whole.schema)):
            lines += [*rules, ""]
        for field in _fields(part, whole.schema):
            lines += _entry(field)
    return "\n".join(lines).rstrip() + "\n"


def fields(kind: type[Resource]) -> Iterator[Field]:
    """All fields of a kind below spec and status."""
    schema = root(kind, for_people=True)
    for part in ("spec", "status"):
        yield from _fields(part, schema["properties"][part])


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
    lines = [f"### `{field.path}`", "", f"{'; '.join(facts(field))}."]
    if description := field.schema.get("description"):
        lines += ["", description]
    if given := examples(field):
        lines += ["", "For example " + ", ".join(f"`{_text(example)}`" for example in given) + "."]
    told = rules(field)
    return [*lines, "", *([*told, ""] if told else [])]


def examples(field: Field) -> list[Any]:
    """Examples of its value, or of one of its items."""
    return list(field.schema.get("examples") or _items(field).get("examples") or ())


def rules(field: Field) -> list[str]:
    """The rules of its value and of its items."""
    return [*_rules(field.schema), *_rules(_items(field))]


def _items(field: Field) -> Mapping[str, Any]:
    items = field.schema.get("items", field.schema.get("additionalProperties", {}))
    return items if isinstance(items, Mapping) else {}


def facts(field: Field) -> list[str]:
    """Type, whether it is required, default, bounds."""
    schema = field.schema
    told = [_type(schema)]
    if field.required:
        told.append("required")
    if "default" in schema and schema["default"] != {}:
        told.append(f"default `{_text(schema['default'])}`")
    told += _bounds(schema)
    if schema.get("type") == "array":
        told += [f"each {bound}" for bound in _bounds(schema["items"])]
        if keys := schema.get("x-kubernetes-list-map-keys"):
            told.append(f"no two with the same `{keys[0]}`")
    return told


def _rules(schema: Mapping[str, Any]) -> Iterator[str]:
    """The rules as a list; those of a map's keys are the server's only."""
    told = set()
    for rule in schema.get("x-tidemill-rules", ()):
        told.add(rule["message"])
        where = "" if "cel" in rule else " (told by `tidemill lint` and in the status, not by `kubectl apply`)"
        yield f"- Rule: {rule['message']}{where}"
    for rule in schema.get("x-kubernetes-validations", ()):
        if rule["message"] not in told:
            yield f"- Rule: {_code(rule['message'])}"


def _code(message: str) -> str:
    """The pattern at the end of a message set as code."""
    before, match, pattern = message.partition(" match ")
    return f"{before}{match}`{pattern}`" if match else message


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    texts = [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]
    return [next((text.replace(a, b) for a, b in _SINGULAR.items() if text.endswith(f" {a}")), text) for text in texts]


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return "object of any fields"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(extra := schema.get("additionalProperties"), Mapping):
        return f"map to {_type(extra)}"
    return {"date-time": "string (RFC 3339 time)"}.get(schema.get("format", ""), str(schema["type"]))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
