"""JSON values with their numbers as they are written, so that no digit is lost between reading and writing. Light."""

from __future__ import annotations

import json
from typing import Any


class Number(str):
    """A number as it stands."""

    __slots__ = ()


def loads(text: bytes | str) -> Any:
    """A JSON value. Raises ValueError, RecursionError."""
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)


def dumps(value: Any) -> str:
    """The inverse of `loads`. Raises RecursionError."""
    match value:
        case dict():
            members = (f"{json.dumps(key, ensure_ascii=False)}: {dumps(each)}" for key, each in value.items())
            return f"{{{', '.join(members)}}}"
        case list():
            return f"[{', '.join(map(dumps, value))}]"
        case Number():
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def text_of(value: Any) -> str | None:
    """A value as its text would stand in a CSV file; objects and lists as JSON."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str():
            return str(value)
        case _:
            return dumps(value)
