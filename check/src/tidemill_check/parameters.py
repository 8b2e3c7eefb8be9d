"""Parameters of a run: what is given against what is declared, and the typed values that SQL binds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Final

from tidemill_api import conditions
from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec
from tidemill_check.paths import unfit
from tidemill_check.problem import Problem, suggestion
from tidemill_check.times import BEGINNING

ParameterValue = str | int | float | bool | date | datetime

RUN_TIME: Final = "run_time"
"""The nominal time of a run."""
INTERVAL_START: Final = "interval_start"
"""Where the interval begins that a run is for: the time before its own that the schedule names."""
INTERVAL_END: Final = "interval_end"
"""Where it ends (it isn't in it any more): the run's own time."""
OF_THE_RUN: Final = frozenset({RUN_TIME, INTERVAL_START, INTERVAL_END})
"""The parameters that every run has."""

INT64: Final = 2**63


def check_parameters(spec: DataPipelineSpec, given: Mapping[str, object]) -> tuple[Problem, ...]:
    """Given values that aren't declared, have the wrong type, or miss; fields are those of a DataPipelineRun."""
    return tuple(_problem(f"spec.parameters.{name}", message) for name, message in _faults(spec, given))


def check_defaults(spec: DataPipelineSpec) -> tuple[Problem, ...]:
    """Defaults that don't have the type of their parameter; fields are those of the DataPipeline."""
    found = []
    for index, parameter in enumerate(spec.parameters):
        if parameter.default is not None:
            try:
                typed_value(parameter.type, parameter.default)
            except ValueError as error:
                found.append(_problem(f"spec.parameters[{index}].default", str(error)))
    return tuple(found)


def bind_parameters(
    spec: DataPipelineSpec, given: Mapping[str, object], run_time: datetime, interval_start: datetime | None = None
) -> dict[str, ParameterValue]:
    """The values of all parameters of a run by name, the run's own (in UTC) included, with the types that SQL sees.

    Without an `interval_start` the interval goes back to the beginning of all times.

    string is str, integer int, number float, boolean bool, date date, timestamp an aware datetime in UTC (a text
    without an offset means UTC). Raises `SpecError` for the first fault.
    """
    for problem in check_parameters(spec, given):
        raise SpecError(problem.field, problem.message)
    if run_time.tzinfo is None or (interval_start is not None and interval_start.tzinfo is None):
        raise ValueError("run_time and interval_start need a time zone")
    values: dict[str, ParameterValue] = {}
    for parameter in spec.parameters:
        value = given.get(parameter.name, parameter.default)
        values[parameter.name] = typed_value(parameter.type, value)
    values[RUN_TIME] = values[INTERVAL_END] = run_time.astimezone(UTC)
    values[INTERVAL_START] = (interval_start or BEGINNING).astimezone(UTC)
    return values


def typed_value(kind: str, value: object) -> ParameterValue:
    """A value as the Python type of the parameter type `kind`: text of any type, or what JSON has for it.

    Raises ValueError that says what would be right.
    """
    typed = _TYPES[kind](value)
    if typed is None:
        shown = json.dumps(value, default=str, ensure_ascii=False)
        raise ValueError(f"{shown} is not {_RIGHT[kind]}")
    return typed


def _problem(field: str, message: str) -> Problem:
    return Problem(field=field, reason=conditions.INVALID_SPEC, message=message)


def _faults(spec: DataPipelineSpec, given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    declared = {parameter.name: parameter for parameter in spec.parameters}
    for name, value in given.items():
        if name not in declared:
            known = suggestion(name, declared) or "; it declares none"
            yield name, f"the pipeline has no parameter {name}{known}"
            continue
        try:
            typed_value(declared[name].type, value)
        except ValueError as error:
            yield name, str(error)
    yield from unfit(spec, given)
    for name, parameter in declared.items():
        if name not in given and parameter.default is None:
            yield name, f"is missing: {name} has no default, so the run must give {_RIGHT[parameter.type]}"


def _integer(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,20}", value):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and -INT64 <= value < INT64 else None


def _number(value: object) -> float | None:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _boolean(value: object) -> bool | None:
    return {"true": True, "false": False}.get(value if isinstance(value, str) else json.dumps(value, default=str))


def _date(value: object) -> date | None:
    if not isinstance(value, str) or len(value) != len("2026-01-01"):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def _timestamp(value: object) -> datetime | None:
    if not isinstance(value, str) or len(value) < len("2026-01-01"):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_TYPES: Final[Mapping[str, Callable[[object], ParameterValue | None]]] = {
    "string": lambda value: value if isinstance(value, str) else None,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
}
_RIGHT: Final[Mapping[str, str]] = {
    "string": "text (in quotes)",
    "integer": "an integer of 64 bits, such as 42",
    "number": "a number, such as '0.5'",
    "boolean": "a boolean: 'true' or 'false'",
    "date": "a date, such as '2026-01-31'",
    "timestamp": "a timestamp, such as '2026-01-31T06:00:00Z'",
}
