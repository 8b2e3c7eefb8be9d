"""`cli/src/tidemill_cli/fields/`: every field of every kind, for `tidemill explain`, which then needs no models."""

from __future__ import annotations

import json
from typing import Any

from tidemill_api.schema import root
from tidemill_api.v1alpha1 import GROUP, KINDS, VERSION, Resource
from tools.generators import reference

FOLDER = "cli/src/tidemill_cli/fields"


def files() -> dict[str, str]:
    """One file a kind; its fields in the order of the models."""
    return {f"{kind.kind_name().lower()}.json": _file(kind) for kind in KINDS}


def _file(kind: type[Resource]) -> str:
    schema = root(kind, for_people=True)
    parts: dict[str, Any] = {
        part: {"facts": ["object"], "description": schema["properties"][part]["description"]}
        for part in ("spec", "status")
    }
    told = {
        "kind": kind.kind_name(),
        "apiVersion": f"{GROUP}/{VERSION}",
        "names": [kind.served.plural, kind.served.short_name],
        "description": schema["description"],
        "fields": parts | {field.path: _told(field) for field in reference.fields(kind)},
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _told(field: reference.Field) -> dict[str, Any]:
    told = {
        "facts": reference.facts(field),
        "description": field.schema.get("description", ""),
        "examples": reference.examples(field),
        "rules": [rule.removeprefix("- Rule: ") for rule in reference.rules(field)],
    }
    return {name: value for name, value in told.items() if value}
