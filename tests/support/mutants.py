"""Wrong manifests made from a good one: each breaks one constraint of the lowered schema, at one place.

So every type, bound, pattern, enum, required field and list key of the schema is tried, also those that join later.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.support.manifests import DELETE, Manifest, changed

Schema = Mapping[str, Any]

_OTHER_TYPES: Final[Mapping[str, tuple[object, ...]]] = {
    "string": (7, True, {}),
    "integer": ("7", True, 1.5, {}),
    "number": ("7", True, []),
    "boolean": ("true", 1, {}),
    "object": ("text", []),
    "array": ("text", {}),
}
_STRANGE_TEXTS: Final = ("", " ", "\n", "Ä ö", "-", "A.B.", "tidemill/x y", "a" * 40 + "\x01", "\x00")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A manifest with one fault. `field` is the place that both verdicts must name."""

    constraint: str
    field: str
    manifest: Manifest

    def __str__(self) -> str:
        return f"{self.manifest['kind']} {self.field} {self.constraint}"


def mutants(manifest: Manifest, spec: Schema) -> Iterator[Mutant]:
    """All mutants of a manifest whose spec has this lowered schema."""
    for constraint, path, field, value in _faults("spec", spec, manifest["spec"]):
        yield Mutant(constraint, field, changed(manifest, {path: value}))


Fault = tuple[str, str, str, object]
"""Constraint, place to change, place to be named, value to put there."""


def _faults(path: str, schema: Schema, value: Any) -> Iterator[Fault]:
    for other in _OTHER_TYPES.get(str(schema.get("type")), (1.5, True, [], {})):
        yield f"type: {other!r}", path, path, other
    if "enum" in schema:
        yield "enum", path, path, "Nonsense"
    match value:
        case dict():
            yield from _object_faults(path, schema, value)
        case list():
            yield from _list_faults(path, schema, value)
        case str():
            yield from _text_faults(path, schema)
        case bool():
            pass
        case int() | float():
            yield from _number_faults(path, schema)


def _object_faults(path: str, schema: Schema, value: dict[str, Any]) -> Iterator[Fault]:
    if "properties" in schema:
        yield "unknown field", f"{path}.colour", f"{path}.colour", "red"
        yield "unknown field, null", f"{path}.colour", f"{path}.colour", None
    for name in schema.get("required", ()):
        yield "required", f"{path}.{name}", f"{path}.{name}", DELETE
        yield "required, null", f"{path}.{name}", f"{path}.{name}", None
    if "maxProperties" in schema:
        many = dict.fromkeys((f"k{i}" for i in range(schema["maxProperties"] + 1)), next(iter(value.values())))
        yield "maxProperties", path, path, many
        yield "keys", path, path, {"b a d": next(iter(value.values()))}
    for name, inner in value.items():
        found = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if found is not None and "." not in name:
            yield from _faults(f"{path}.{name}", found, inner)


def _list_faults(path: str, schema: Schema, value: list[Any]) -> Iterator[Fault]:
    if schema.get("minItems"):
        yield "minItems", path, path, []
    if keys := schema.get("x-kubernetes-list-map-keys"):
        twins = [copy.deepcopy(value[0]) for _ in range(schema["maxItems"] + 1)]
        many = [{**twin, keys[0]: f"n{i}"} for i, twin in enumerate(twins)]
        yield "duplicate key", path, f"{path}[{len(value)}]", [*value, value[0]]
    else:
        many = [value[0]] * (schema["maxItems"] + 1)
    yield "maxItems", path, path, many
    for index, item in enumerate(value):
        yield from _faults(f"{path}[{index}]", schema["items"], item)


def _text_faults(path: str, schema: Schema) -> Iterator[Fault]:
    if "maxLength" in schema:
        yield "maxLength", path, path, "a" * (schema["maxLength"] + 1)
    if schema.get("minLength"):
        yield "minLength", path, path, ""
    if "pattern" in schema:
        wrong = next(text for text in _STRANGE_TEXTS if not re.search(schema["pattern"], text))
        yield "pattern", path, path, wrong
    if schema.get("format") == "date-time":
        yield "format", path, path, "2026-13-01T00:00:00Z"


def _number_faults(path: str, schema: Schema) -> Iterator[Fault]:
    if "minimum" in schema:
        yield "minimum", path, path, schema["minimum"] - 1
    if "maximum" in schema:
        yield "maximum", path, path, schema["maximum"] + 1
