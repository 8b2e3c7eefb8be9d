"""Parameters of a run: types, defaults, what is missing or unknown."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.support.manifests import changed, load
from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.parameters import bind_parameters, check_defaults, check_parameters, typed_value

RUN_TIME = datetime(2026, 1, 31, 6, tzinfo=timezone(timedelta(hours=1)))


def spec_with(*parameters: dict[str, Any]) -> DataPipelineSpec:
    """A pipeline without a schedule that declares these parameters."""
    manifest = changed(load("minimal")[0], {"spec.parameters": list(parameters)})
    return DataPipelineSpec.model_validate(manifest["spec"])


GOOD = (
    ("string", "", ""),
    ("string", "7", "7"),
    ("integer", 7, 7),
    ("integer", "-7", -7),
    ("integer", 2**63 - 1, 2**63 - 1),
    ("number", 7, 7.0),
    ("number", 0.5, 0.5),
    ("number", "0.5", 0.5),
    ("number", "-1e-3", -0.001),
    ("number", ".5", 0.5),
    ("boolean", True, True),
    ("boolean", "true", True),
    ("boolean", "false", False),
    ("date", "2026-02-28", date(2026, 2, 28)),
    ("timestamp", "2026-01-31T06:00:00Z", datetime(2026, 1, 31, 6, tzinfo=UTC)),
    ("timestamp", "2026-01-31T06:00:00+02:00", datetime(2026, 1, 31, 4, tzinfo=UTC)),
    ("timestamp", "2026-01-31 06:00:00.25", datetime(2026, 1, 31, 6, 0, 0, 250000, tzinfo=UTC)),
    ("timestamp", "2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
)


@pytest.mark.parametrize(("kind", "value", "expected"), GOOD)
def test_typed_value(kind: str, value: object, expected: object) -> None:
    found = typed_value(kind, value)
    assert found == expected
    assert type(found) is type(expected)


BAD = (
    ("string", 7, "7 is not text (in quotes)"),
    ("integer", "7.0", '"7.0" is not an integer'),
    ("integer", True, "true is not an integer"),
    ("integer", 2**63, "is not an integer of 64 bits"),
    ("integer", "", "is not an integer"),
    ("integer", "٣", "is not an integer"),
    ("number", "NaN", "is not a number"),
    ("number", "1e999", "is not a number"),
    ("number", float("inf"), "is not a number"),
    ("number", True, "true is not a number"),
    ("number", "1,5", "is not a number"),
    ("boolean", "yes", "'true' or 'false'"),
    ("boolean", 1, "'true' or 'false'"),
    ("date", "2026-02-30", "is not a date, such as '2026-01-31'"),
    ("date", "20260228", "is not a date"),
    ("date", 20260228, "is not a date"),
    ("timestamp", "now", "is not a timestamp"),
    ("timestamp", "0001-01-01T00:00:00+14:00", "is not a timestamp"),
    ("timestamp", None, "null is not a timestamp"),
)


@pytest.mark.parametrize(("kind", "value", "says"), BAD)
def test_wrong_value_says_what_would_be_right(kind: str, value: object, says: str) -> None:
    with pytest.raises(ValueError, match="is not") as error:
        typed_value(kind, value)
    assert says in str(error.value)


def test_bound_values_are_the_given_ones_over_the_defaults_and_the_run_time() -> None:
    spec = spec_with({"name": "carrier", "default": "UA"}, {"name": "year", "type": "integer"})
    values = bind_parameters(spec, {"year": "2013"}, RUN_TIME)
    moment = datetime(2026, 1, 31, 5, tzinfo=UTC)
    assert values == {
        "carrier": "UA",
        "year": 2013,
        "run_time": moment,
        "interval_start": datetime(1, 1, 1, tzinfo=UTC),
        "interval_end": moment,
    }
    since = datetime(2026, 1, 30, 6, tzinfo=timezone(timedelta(hours=1)))
    assert bind_parameters(spec, {"year": 1}, RUN_TIME, since)["interval_start"] == since
    assert bind_parameters(spec, {"year": 1, "carrier": ""}, RUN_TIME)["carrier"] == ""


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({}, "spec.parameters.year", "is missing: year has no default, so the run must give an integer"),
        ({"year": "x"}, "spec.parameters.year", '"x" is not an integer'),
        ({"year": 1, "yaer": 2}, "spec.parameters.yaer", "no parameter yaer; did you mean year?"),
        ({"year": 1, "run_time": "2026-01-01"}, "spec.parameters.run_time", "no parameter run_time"),
    ],
)
def test_what_a_run_gives_wrongly(given: dict[str, object], field: str, says: str) -> None:
    spec = spec_with({"name": "year", "type": "integer"})
    problems = check_parameters(spec, given)
    assert [problem.field for problem in problems] == [field]
    assert says in problems[0].message
    with pytest.raises(SpecError) as error:
        bind_parameters(spec, given, RUN_TIME)
    assert error.value.field == field


def test_a_pipeline_without_parameters_says_so() -> None:
    assert "it declares none" in check_parameters(spec_with(), {"x": 1})[0].message


def test_all_faults_of_a_run_come_at_once() -> None:
    spec = spec_with({"name": "a"}, {"name": "b", "type": "date"})
    assert len(check_parameters(spec, {"b": "x", "c": 1})) == 3


def test_defaults_have_the_type_of_their_parameter() -> None:
    spec = spec_with({"name": "a", "type": "date", "default": "x"}, {"name": "b"}, {"name": "c", "default": 5})
    assert [problem.field for problem in check_defaults(spec)] == [
        "spec.parameters[0].default",
        "spec.parameters[2].default",
    ]


def test_run_time_must_be_a_moment() -> None:
    with pytest.raises(ValueError, match="time zone"):
        bind_parameters(spec_with(), {}, datetime(2026, 1, 1))  # noqa: DTZ001  (that is the point)
