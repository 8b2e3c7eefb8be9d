"""One object against its model: what the API server's schema would refuse, in words that say what would be right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tidemill_api.v1alpha1 import Model
from tidemill_check.problem import suggestion
from tidemill_cli.lint.yaml_text import Path

AnyModel = TypeVar("AnyModel", bound=Model)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A field that doesn't fit the model. `at_key`: the key itself is at fault, not its value."""

    path: Path
    message: str
    at_key: bool = False


def fit(model: type[AnyModel], raw: Mapping[str, Any]) -> tuple[AnyModel | None, tuple[Misfit, ...]]:
    """The object and what is wrong with it.

    An object whose only fault are unknown fields is given all the same, without them, so that
    the checks behind this one find their faults at once too.
    """
    try:
        return model.model_validate(raw), ()
    except ValidationError as error:
        details = [detail for detail in error.errors(include_url=False) if not _hidden(detail)]
    misfits = tuple(_misfit(model, raw, detail) for detail in details)
    if all(detail["type"] == "extra_forbidden" for detail in details):
        return fit(model, _without([detail["loc"] for detail in details], raw))[0], misfits
    return None, misfits


def field_text(path: Path) -> str:
    """`spec.sinks[0].primaryKey`; a key that is no plain word stands in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part and all(letter.isalnum() or letter in "_-" for letter in part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def field_path(text: str) -> Path:
    """The other way round: a field's path from its text."""
    found: list[str | int] = []
    for piece in text.replace("]", "").replace("[", ".#").split("."):
        if piece.startswith("#") and piece[1:].isdigit():
            found.append(int(piece[1:]))
        elif piece:
            found.append(piece)
    return tuple(found)


def _hidden(detail: ErrorDetails) -> bool:
    """A list that seems too short only because its items don't fit."""
    value = detail["input"]
    return detail["type"] == "too_short" and len(value) >= detail.get("ctx", {}).get("min_length", 0)


def _without(paths: list[Path], raw: Mapping[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(raw, default=str))
    for path in paths:
        del _at(copy, path[:-1])[path[-1]]
    return copy


def _at(value: Any, path: Path) -> Any:
    """What stands at a path that is known to be there."""
    for part in path:
        value = value[part]
    return value


def _misfit(model: type[Model], raw: Mapping[str, Any], detail: ErrorDetails) -> Misfit:
    path = _real_path(raw, detail["loc"], missing=detail["type"] == "missing")
    if detail["type"] == "extra_forbidden":
        known = list(_schema_at(model, path[:-1]).get("properties", {}))
        name = str(path[-1])
        return Misfit(path, f"there is no field {name}{suggestion(name, known)}", at_key=True)
    return Misfit(path, _sentence(detail, _schema_at(model, path)))


def _real_path(raw: Mapping[str, Any], loc: Path, missing: bool) -> Path:
    """The location without the names that pydantic gives to branches of a union."""
    found: list[str | int] = []
    at: Any = raw
    for place, part in enumerate(loc):
        last = missing and place == len(loc) - 1
        if not _has(at, part) and not last and isinstance(part, str) and not part.isidentifier():
            continue
        at = _at(at, (part,)) if _has(at, part) else None
        found.append(part)
    return tuple(found)


def _has(value: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(value, list | tuple) and part < len(value)
    return isinstance(value, dict) and part in value


@lru_cache(maxsize=16)
def _schema(model: type[Model]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def _schema_at(model: type[Model], path: Path) -> dict[str, Any]:
    root = _schema(model)
    at = root
    for part in path:
        at = _inner(root, at)
        inside = (
            at.get("items")
            if isinstance(part, int)
            else at.get("properties", {}).get(part, at.get("additionalProperties"))
        )
        if not isinstance(inside, dict):
            return {}
        at = inside
    outer: dict[str, Any] = {key: at[key] for key in ("description", "examples") if key in at}
    return {**_inner(root, at), **outer}


def _inner(root: dict[str, Any], at: dict[str, Any]) -> dict[str, Any]:
    """The schema behind references and `null`."""
    while True:
        branches = [one for one in at.get("anyOf", ()) if one.get("type") != "null"]
        if "$ref" in at:
            at = root["$defs"][at["$ref"].rpartition("/")[2]]
        elif len(branches) == 1:
            at = branches[0]
        else:
            return at


_KINDS: Final = {
    "bool_type": "a boolean: true or false, without quotes",
    "int_type": "a whole number, without quotes",
    "int_from_float": "a whole number",
    "float_type": "a number, without quotes",
    "string_type": "a text: put it in quotes",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
}


def _sentence(detail: ErrorDetails, schema: Mapping[str, Any]) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {_shown(value)}"
    match kind:
        case "missing":
            meaning = str(schema.get("description", "")).split("\n")[0]
            return f"is missing: {meaning}" if meaning else "is missing"
        case "literal_error":
            allowed = [str(one) for one in schema.get("enum", [schema.get("const", "")])]
            near = suggestion(str(value), allowed)
            right = near.removeprefix("; ") if "did you mean" in near else ""
            return f"{_shown(value)} is not one of {', '.join(allowed)}" + (f"; {right}" if right else "")
        case "string_pattern_mismatch":
            examples = ", ".join(str(one) for one in schema.get("examples", ()))
            return f"{_shown(value)} is not of the right form" + (
                f": write it like {examples}" if examples else f": it must match {context['pattern']}"
            )
        case _:
            return "; ".join(_bounds(detail)) or detail["msg"]


def _bounds(detail: ErrorDetails) -> Iterator[str]:
    context = detail.get("ctx", {})
    shown = _shown(detail["input"])
    match detail["type"]:
        case "greater_than_equal":
            yield f"must be at least {context['ge']}, not {shown}"
        case "less_than_equal":
            yield f"must be at most {context['le']}, not {shown}"
        case "string_too_short":
            yield (
                "must not be empty"
                if context["min_length"] == 1
                else f"must have at least {context['min_length']} characters"
            )
        case "string_too_long":
            yield f"must have at most {context['max_length']} character{'s' if context['max_length'] > 1 else ''}"
        case "too_short":
            yield f"needs at least {context['min_length']} item{'s' if context['min_length'] > 1 else ''}"
        case "too_long":
            yield f"may have at most {context['max_length']} items"
        case "rule" | "value_error":
            yield detail["msg"].removeprefix("Value error, ")
        case _:
            return


_PASSWORD: Final = re.compile(r"(://[^/@:\s]*:)\S*@")
"""Of a connection string that stands where it shouldn't: what we say may end in the log of a CI job."""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = _PASSWORD.sub(r"\1...@", json.dumps(value, ensure_ascii=False, default=str))
    return "nothing" if value is None else text if len(text) <= 60 else f"{text[:57]}..."
