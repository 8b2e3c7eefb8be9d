"""Paths with values in them: `flights/{run_time:%Y/%m/%d}/{parameters.carrier}-*.csv`; and what an API is asked.

    {run_time} {interval_start} {interval_end}    the run's own moments, in UTC
    {parameters.NAME}                             a parameter of the pipeline
    {...:FORMAT}                                  of moments and dates, in the letters of strftime
    {{ and }}                                     a brace

A value is a name, never a pattern and never a way to another folder: it holds no slash and none of `*?[]`, and it isn't
empty. Slashes and patterns are the author's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from tidemill_api import conditions
from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_check.problem import Problem, suggestion

_OF_THE_RUN: Final = ("run_time", "interval_start", "interval_end")
_PARAMETER: Final = "parameters."
_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_LETTERS: Final[Mapping[str, str]] = {
    "Y": "{0.year:04}",
    "m": "{0.month:02}",
    "d": "{0.day:02}",
    "H": "{0.hour:02}",
    "M": "{0.minute:02}",
    "S": "{0.second:02}",
    "y": "{1:02}",
    "j": "{2:03}",
    "%": "%",
}
"""What a letter after `%` stands for: of the moment, its year of the century, its day of the year."""
_UNSAFE: Final = re.compile(r"[/\\*?\[\]\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Place:
    """A value's place in a path."""

    name: str
    """As in SQL: `run_time`, or the parameter's name."""
    form: str
    """Its format; empty if none is given."""
    text: str
    """As it stands in the path."""


class PathError(ValueError):
    """A path can't be read, or a value can't stand in it. The message is a sentence."""


def places(path: str) -> tuple[Place, ...]:
    """The values that a path asks for. Raises PathError."""
    return tuple(piece for piece in _pieces(path) if isinstance(piece, Place))


def render(path: str, values: Mapping[str, object]) -> str:
    """The path with its values. Raises PathError for a value that can't stand in a path."""
    text = "".join(piece if isinstance(piece, str) else _text(piece, values[piece.name]) for piece in _pieces(path))
    if ".." in text.split("/"):
        raise PathError(f"{text} goes up by '..': it must stay below the connection's folder")
    return text


def render_text(text: str, values: Mapping[str, object]) -> str:
    """As `render`, where any text may stand: what is made of it is encoded."""
    return "".join(p if isinstance(p, str) else _shown(p, values[p.name]) for p in _pieces(text))


def rendered(spec: DataPipelineSpec, values: Mapping[str, object]) -> DataPipelineSpec:
    """The pipeline with the values of a run in the paths of its sources. Raises SpecError.

    `values` is what `bind_parameters` gives.
    """
    sources = []
    for index, source in enumerate(spec.sources):
        try:
            sources.append(_with_values(source, values))
        except PathError as error:
            kind = "files" if source.files is not None else "http"
            raise SpecError(f"spec.sources[{index}].{kind}.path", str(error)) from None
    return spec.model_copy(update={"sources": tuple(sources)})


def _with_values(source: Source, values: Mapping[str, object]) -> Source:
    if source.files is not None:
        files = source.files.model_copy(update={"path": render(source.files.path, values)})
        return source.model_copy(update={"files": files})
    if source.http is not None:
        query = {name: render_text(text, values) for name, text in source.http.query.items()}
        http = source.http.model_copy(update={"path": render(source.http.path, values), "query": query})
        return source.model_copy(update={"http": http})
    return source


def check_paths(spec: DataPipelineSpec) -> Iterator[Problem]:
    """Paths that can't be read, that ask for what there isn't, or whose parameter's default can't stand in them."""
    kinds = {parameter.name: parameter.type for parameter in spec.parameters}
    defaults = {parameter.name: parameter.default for parameter in spec.parameters}
    for index, source in enumerate(spec.sources):
        kind = "files" if source.files is not None else "http"
        for message in _faults(_path(source), kinds, defaults):
            yield Problem(f"spec.sources[{index}].{kind}.path", conditions.INVALID_SPEC, message)
        for name, text in (source.http.query if source.http is not None else {}).items():
            for message in _faults(text, kinds, {}):
                yield Problem(f"spec.sources[{index}].http.query.{name}", conditions.INVALID_SPEC, message)


def unfit(spec: DataPipelineSpec, given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Values given for a run that can't stand in the paths that ask for them: the parameter's name, and why."""
    for source in spec.sources:
        try:
            asked = places(_path(source))
        except PathError:
            continue
        for place in asked:
            if place.name in given and (why := _unfit(given[place.name])):
                yield place.name, why


def _path(source: Source) -> str:
    if source.files is not None:
        return source.files.path
    return source.http.path if source.http is not None else ""


def _faults(path: str, kinds: Mapping[str, str], defaults: Mapping[str, object]) -> Iterator[str]:
    try:
        asked = places(path)
    except PathError as error:
        yield str(error)
        return
    for place in asked:
        of_a_moment = place.name in _OF_THE_RUN or kinds.get(place.name) in ("date", "timestamp")
        if place.form and not of_a_moment:
            yield f"{place.text}: {place.name} is no moment or date, so it takes no format"
        default = defaults.get(place.name)
        if default is not None and (why := _unfit(default)):
            yield f"the default of the parameter {place.name} can't stand in a path: {why}"
    yield from _unknown(asked, kinds)


def _unknown(asked: tuple[Place, ...], known: Collection[str]) -> Iterator[str]:
    for place in asked:
        if place.text.startswith("{" + _PARAMETER) and place.name not in known:
            there = suggestion(place.name, known) or "; it declares none"
            yield f"{place.text}: the pipeline has no parameter {place.name}{there}"


def _pieces(path: str) -> Iterator[str | Place]:
    end = 0
    for token in _TOKEN.finditer(path):
        yield path[end : token.start()]
        end = token.end()
        match token.group():
            case "{{" | "}}" as brace:
                yield brace[0]
            case "{" | "}" as brace:
                raise PathError(f"the {brace} at {token.start()} has no other one: write {brace * 2} for a brace")
            case text:
                yield _place(text, token.group(1))
    yield path[end:]


def _place(text: str, inner: str) -> Place:
    name, colon, form = inner.partition(":")
    if colon and not form:
        raise PathError(f"{text} has an empty format: write {{{name}}}, or a format such as {{{name}:%Y/%m/%d}}")
    for letter in re.findall(r"%(.?)", form):
        if letter not in _LETTERS:
            raise PathError(f"{text}: %{letter} isn't known: use {', '.join('%' + each for each in _LETTERS)}")
    if name in _OF_THE_RUN:
        return Place(name, form, text)
    if name.startswith(_PARAMETER):
        return Place(name.removeprefix(_PARAMETER), form, text)
    near = difflib.get_close_matches(name, _OF_THE_RUN, n=1)
    meant = f"did you mean {{{near[0]}}}?" if near else "a parameter is {parameters.NAME}, a brace {{ or }}"
    raise PathError(f"{text} isn't known, only {{run_time}}, {{interval_start}} and {{interval_end}}; {meant}")


def _text(place: Place, value: object) -> str:
    text = _shown(place, value)
    if not isinstance(value, date) and (why := _unfit(text)):
        raise PathError(f"{place.text}: {why}")
    return text


def _shown(place: Place, value: object) -> str:
    moment = value.astimezone(UTC) if isinstance(value, datetime) else value
    if isinstance(moment, date):
        return _formatted(moment, place.form or ("%Y-%m-%dT%H:%M:%SZ" if isinstance(moment, datetime) else "%Y-%m-%d"))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _formatted(moment: date, form: str) -> str:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    day = moment.timetuple().tm_yday
    return re.sub(r"%(.)", lambda found: _LETTERS[found[1]].format(moment, moment.year % 100, day), form)


def _unfit(value: object) -> str:
    """Why a value can't stand in a path; empty if it can."""
    text = str(value)
    if not text:
        return "it is empty, and an empty name would be another folder"
    if unsafe := _UNSAFE.search(text):
        return f"{text[:80]!r} holds {unsafe.group()!r}: a value in a path is a name, without / \\ * ? [ and ]"
    if text in (".", ".."):
        return f"{text!r} is no name of a file"
    return ""
