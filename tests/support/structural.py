"""What an API server makes of a value by a structural schema, without its rules: small enough to be seen to be right.

The integration tests hold the same manifests against a real server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

Schema = Mapping[str, Any]


def accepts(schema: Schema, value: Any) -> bool:
    """Whether a value fits, unknown fields refused, and null read as absence."""
    if schema.get("x-kubernetes-int-or-string"):
        return _is_integer(value) or (isinstance(value, str) and _text(schema, value))
    check = _CHECKS[schema["type"]]
    return check(schema, value) and ("enum" not in schema or value in schema["enum"])


def _object(schema: Schema, value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return True
    present = {name: item for name, item in value.items() if item is not None}
    if "additionalProperties" in schema:
        inner = schema["additionalProperties"]
        keys_fit = all(_key(schema, name) for name in present)
        return keys_fit and len(present) <= schema["maxProperties"] and all(accepts(inner, v) for v in present.values())
    fields = schema.get("properties", {})
    if not set(schema.get("required", ())) <= set(present):
        return False
    return all(name in fields for name in value) and all(accepts(fields[n], v) for n, v in present.items())


def _key(schema: Schema, name: str) -> bool:
    """The one rule that the lowering itself makes."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if (found := re.search(r"size\(k\) <= (\d+)", rule["rule"])) and len(name) > int(found[1]):
            return False
    return True


def _array(schema: Schema, value: Any) -> bool:
    if not isinstance(value, list) or not schema.get("minItems", 0) <= len(value) <= schema["maxItems"]:
        return False
    keys = [
        item.get(key)
        for key in schema.get("x-kubernetes-list-map-keys", ())
        for item in value
        if isinstance(item, dict)
    ]
    return len(set(map(str, keys))) == len(keys) and all(accepts(schema["items"], item) for item in value)


def _string(schema: Schema, value: Any) -> bool:
    return isinstance(value, str) and _text(schema, value)


def _text(schema: Schema, value: str) -> bool:
    fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return False
    # Python's `$` also matches before a last line break; the API server's doesn't.
    pattern = re.sub(r"\$$", r"\\Z", schema.get("pattern", ""))
    return fits and re.search(pattern, value) is not None


def _number(schema: Schema, value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    above = value > low if schema.get("exclusiveMinimum") else value >= low
    below = value < high if schema.get("exclusiveMaximum") else value <= high
    return bool(above and below)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_CHECKS: Final[Mapping[str, Callable[[Schema, Any], bool]]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": lambda schema, value: _is_integer(value) and _number(schema, value),
    "boolean": lambda _, value: isinstance(value, bool),
}
