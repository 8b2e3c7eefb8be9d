"""YAML as kubectl reads it, with the place of every field.

kubectl's parser (go-yaml v2) follows YAML 1.1: `yes`, `on`, `n` and their like are booleans, `010` is eight, a date is
text. So plain scalars are resolved here by its rules; the scanner and parser are ruamel.yaml's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

Path = tuple[str | int, ...]

MOST_LEVELS: Final = 100
"""So deep a document may be nested: far beyond any manifest, and well within what can be read level by level."""


@dataclass(frozen=True, slots=True)
class Position:
    """Line and column, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the text itself: an error (it can't be read, or a key stands twice), or a warning."""

    position: Position
    message: str
    error: bool = True
    path: Path = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its value as JSON would hold it, where its fields stand, and what is wrong with its text.

    `keys` are the places of keys and list items, `values` those of values; both by path. `value` is None when
    the document is empty or can't be read.
    """

    value: Any
    position: Position
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()

    def at(self, path: Path, key: bool = False) -> Position:
        """Where a field stands, or the nearest one around it that is there."""
        for length in range(len(path), -1, -1):
            places = self.keys if key or length < len(path) else self.values
            if path[:length] in places:
                return places[path[:length]]
        return self.position


def read_documents(text: str) -> Iterator[Document]:
    """The documents of a YAML text. One that can't be read doesn't hide the others."""
    for first_line, part in _parts(text):
        yield _Reader(first_line).read(part)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """The text between the lines that begin a document, each with the number of lines before it."""
    part: list[str] = []
    first_line = 0
    for number, line in enumerate(text.splitlines(keepends=True)):
        if re.match(r"---(\s|$)", line) and part:
            yield first_line, "".join(part)
            part, first_line = [], number
        part.append(line)
    if part:
        yield first_line, "".join(part)


class _TooDeepError(Exception):
    """A document is nested too deep to be read."""

    def __init__(self, position: Position) -> None:
        """Where the first level stands that is too much."""
        super().__init__(f"this is nested more than {MOST_LEVELS} levels deep")
        self.position = position


class _Reader:
    """Builds one document from parser events."""

    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self._keys: dict[Path, Position] = {}
        self._values: dict[Path, Position] = {}
        self._remarks: list[Remark] = []
        self._anchors: dict[str, Any] = {}

    def read(self, text: str) -> Document:
        value: Any = None
        start: Position | None = None
        try:
            for event in (events := iter(YAML(typ="safe", pure=True).parse(text))):
                if isinstance(event, NodeEvent):
                    start = self._position(event)
                    value = self._value(event, events, ())
                elif not isinstance(event, StreamStartEvent | DocumentStartEvent | DocumentEndEvent | StreamEndEvent):
                    raise TypeError(f"an unknown event of the YAML parser: {event!r}")
        except _TooDeepError as error:
            self._remarks.append(Remark(error.position, str(error)))
            value = None
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (
                Position(self._first_line + mark.line + 1, mark.column + 1)
                if mark
                else Position(self._first_line + 1, 1)
            )
            context = f" ({error.context})" if error.context else ""
            self._remarks.append(Remark(place, f"this is no valid YAML: {error.problem}{context}"))
            value = None
        except YAMLError as error:
            self._remarks.append(
                Remark(self._of_offset(text, error), f"this is no valid YAML: {str(error).splitlines()[0]}")
            )
            value = None
        return Document(
            value, start or Position(self._first_line + 1, 1), self._keys, self._values, tuple(self._remarks)
        )

    def _of_offset(self, text: str, error: YAMLError) -> Position:
        before = text[: getattr(error, "position", 0)]
        return Position(self._first_line + before.count("\n") + 1, len(before) - before.rfind("\n"))

    def _position(self, event: Event) -> Position:
        return Position(self._first_line + event.start_mark.line + 1, event.start_mark.column + 1)

    def _value(self, event: Event, events: Iterator[Event], path: Path) -> Any:
        self._values[path] = self._position(event)
        if len(path) > MOST_LEVELS:
            raise _TooDeepError(self._values[path])
        if isinstance(event, AliasEvent):
            if event.anchor not in self._anchors:
                self._remarks.append(
                    Remark(self._position(event), f"there is no anchor &{event.anchor} before this", path=path)
                )
            return self._anchors.get(event.anchor)
        if isinstance(event, ScalarEvent):
            value = self._scalar(event, path)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(events, path)
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(events, path)
        else:
            raise TypeError(f"an unknown event of the YAML parser: {event!r}")
        if event.anchor:
            self._anchors[event.anchor] = value
        return value

    def _sequence(self, events: Iterator[Event], path: Path) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            below = (*path, len(found))
            self._keys[below] = self._position(event)
            found.append(self._value(event, events, below))
        return found

    def _mapping(self, events: Iterator[Event], path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: list[Any] = []
        while not isinstance(key_event := next(events), MappingEndEvent):
            place = self._position(key_event)
            key = self._key(key_event, events, path)
            below = (*path, key)
            if key == "<<":
                merged.append(self._value(next(events), events, below))
                continue
            if key in found:
                first = self._keys[below]
                self._remarks.append(
                    Remark(
                        place,
                        f"{key} stands here for the second time, first in line {first.line}: keep one",
                        path=below,
                    )
                )
                self._value(next(events), events, ("(again)", *below))
                continue
            self._keys[below] = place
            found[key] = self._value(next(events), events, below)
        for source in (one for value in merged for one in (value if isinstance(value, list) else [value])):
            found = {**source, **found} if isinstance(source, dict) else found
        return found

    def _key(self, event: Event, events: Iterator[Event], path: Path) -> str:
        if not isinstance(event, ScalarEvent):
            self._remarks.append(Remark(self._position(event), "a key must be a text", path=path))
            self._value(event, events, ("(key)", *path))
            return ""
        if event.value == "<<" and event.implicit[0]:
            return "<<"
        value = self._scalar(event, path)
        return value if isinstance(value, str) else _as_key(value)

    def _scalar(self, event: ScalarEvent, path: Path) -> Any:
        tag = str(event.tag) if event.tag else None
        if tag is None and not event.implicit[0]:
            return event.value
        if tag in {None, *_RESOLVED}:
            value = resolve(event.value)
            if isinstance(value, bool) and event.value.lower() not in ("true", "false"):
                sure = "true" if value else "false"
                text = f"{event.value} is read as the boolean {sure} by kubectl: write {sure}, or put text in quotes"
                self._remarks.append(Remark(self._position(event), text, error=False, path=path))
            return value
        if tag != _TEXT:
            self._remarks.append(
                Remark(self._position(event), f"the tag {tag} has no meaning in a manifest", path=path)
            )
        return event.value


_TEXT: Final = "tag:yaml.org,2002:str"
_RESOLVED: Final = {f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "null")}
_TRUE: Final = {"y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"}
_FALSE: Final = {"n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"}
_NULL: Final = {"", "~", "null", "Null", "NULL"}
_FLOAT: Final = re.compile(r"[-+]?[0-9]*\.?[0-9]+([eE][-+][0-9]+)?|[-+]?[0-9]+\.([eE][-+][0-9]+)?")
_INTEGER: Final = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)")
_ENDLESS: Final = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def resolve(text: str) -> str | int | float | bool | None:
    """What a plain (unquoted) scalar means to kubectl."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    plain = text.replace("_", "")
    if whole := _INTEGER.fullmatch(plain):
        return int(whole[1] + "1") * _magnitude(whole[2].lower())
    if _FLOAT.fullmatch(plain):
        return float(plain)
    if endless := _ENDLESS.fullmatch(text):
        return math.nan if endless[3] else -math.inf if endless[1] == "-" else math.inf
    return text


def _magnitude(digits: str) -> int:
    for prefix, base in (("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)):
        if digits.startswith(prefix) and digits != "0":
            return int(digits.removeprefix(prefix), base)
    return int(digits)


def _as_key(value: float | bool | None) -> str:
    return (
        {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else str(value)
    )
