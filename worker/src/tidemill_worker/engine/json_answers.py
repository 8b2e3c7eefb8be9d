"""Answers of an API: JSON whose rows JMESPath finds, and which become lines of JSON. No digit of a number is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from tidemill_api.errors import PagingBroken

if TYPE_CHECKING:
    from jmespath.parser import ParsedResult

_BOM: Final = b"\xef\xbb\xbf"
_DEEPEST: Final = 200
"""Levels of an answer. Deeper ones would be too deep for JMESPath, too."""


class _Written(float):
    """A number that Python would write otherwise than the answer has it."""

    __slots__ = ("text",)
    text: str


_Written.__name__ = "float"  # JMESPath's functions go by the names of types


@dataclass(slots=True)
class Document:
    """One answer."""

    value: Any
    exact: bool
    """Python writes all of its numbers as they stand."""

    def lines(self, rows: Sequence[Any]) -> list[bytes]:
        """Each of these rows, values found in this answer, as a line of JSON."""
        write = _dumps if self.exact else _as_written
        return [write(row).encode(errors="surrogatepass") + b"\n" for row in rows]


@dataclass(slots=True)
class _Numbers:
    """Reads numbers, and remembers whether each is what Python writes."""

    exact: bool = True
    seen: dict[str, float] = field(default_factory=dict)

    def read(self, text: str) -> float:
        number = float(text)
        return number if repr(number) == text else self.kept(text)

    def kept(self, text: str) -> float:
        self.exact = False
        number = _Written(text)
        number.text = text
        return number


def document(body: bytes, what: str) -> Document:
    """An answer's JSON. Raises PagingBroken, which says of `what`, if it is none."""
    numbers = _Numbers()
    try:
        text = body.removeprefix(_BOM).decode()
        value = json.loads(text, parse_float=numbers.read, parse_constant=numbers.kept)
        _look_down(value)
    except (ValueError, RecursionError):
        raise PagingBroken(f"{what} is no JSON in UTF-8") from None
    return Document(value, numbers.exact)


def found(expression: str, value: Any, what: str) -> Any:
    """What a JMESPath expression finds. Raises PagingBroken, which says of `what`, if it fails on the value."""
    from jmespath import exceptions

    try:
        return _compiled(expression).search(value)
    except (exceptions.JMESPathError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Their words quote values of rows.
        raise PagingBroken(f"{what}: the expression {expression!r} fails ({type(error).__name__})") from None


@lru_cache(256)
def _compiled(expression: str) -> ParsedResult:
    import jmespath

    return jmespath.compile(expression)


def _look_down(value: Any) -> None:
    """Raises RecursionError for what is nested too deeply."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            below
            for each in level
            if isinstance(each, dict | list)
            for below in (each.values() if isinstance(each, dict) else each)
            if isinstance(below, dict | list)
        ]
        if not level:
            return
    raise RecursionError


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _as_written(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{_dumps(key)}: {_as_written(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_as_written, value)) + "]"
        case _Written():
            return value.text
        case _:
            return _dumps(value)
