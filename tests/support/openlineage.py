"""OpenLineage's own JSON Schemas, and whether an event is what they say, down to each facet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

_FOLDER = Path(__file__).parents[1] / "golden" / "openlineage"


@cache
def _registry() -> Any:
    schemas = [json.loads(file.read_text()) for file in sorted(_FOLDER.glob("*.json"))]
    return Registry().with_resources([(schema["$id"], Resource.from_contents(schema)) for schema in schemas])


def validate(event: dict[str, Any]) -> None:
    """Raise jsonschema's ValidationError for an event, or a facet of it, that isn't what its schema says.

    Each facet is held against the schema that it names itself, which must be one that we keep.
    """
    _held(event, event["schemaURL"])
    for facet in _facets(event):
        _held(facet, facet["_schemaURL"])


def _held(value: object, schema: str) -> None:
    checker = Draft202012Validator.FORMAT_CHECKER
    Draft202012Validator({"$ref": schema}, registry=_registry(), format_checker=checker).validate(value)


def _facets(value: Any) -> Iterator[dict[str, Any]]:
    match value:
        case {"_schemaURL": _}:
            yield value
        case dict():
            for item in value.values():
                yield from _facets(item)
        case list():
            for item in value:
                yield from _facets(item)
        case _:
            pass
