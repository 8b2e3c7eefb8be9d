"""Values in the paths of files: what is read, what is refused, and that none leads to another folder."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.manifests import load
from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.parameters import bind_parameters, check_parameters
from tidemill_check.paths import PathError, check_paths, render, rendered

VALUES = {
    "run_time": datetime(2026, 1, 31, 6, 5, 4, tzinfo=UTC),
    "interval_start": datetime(2026, 1, 30, tzinfo=UTC),
    "interval_end": datetime(2026, 1, 31, 6, 5, 4, tzinfo=UTC),
    "carrier": "UA",
    "day": date(2026, 1, 2),
    "seen": datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
    "n": 5,
    "flag": True,
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/*.csv", "a/*.csv"),
        ("a/{run_time:%Y/%m/%d}/*.csv", "a/2026/01/31/*.csv"),
        ("{run_time}.csv", "2026-01-31T06:05:04Z.csv"),
        ("{interval_start:%Y-%j}-{interval_end:%H%M%S}", "2026-030-060504"),
        ("{run_time:%y%%}", "26%"),
        ("{parameters.carrier}-{parameters.n}-{parameters.flag}.csv", "UA-5-true.csv"),
        ("{parameters.day}/{parameters.day:%d}/{parameters.seen:%H}", "2026-01-02/02/04"),
        ("{{x}}", "{x}"),
    ],
)
def test_rendered(path: str, expected: str) -> None:
    assert render(path, VALUES) == expected


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a{b.csv", "the { at 1 has no other one: write {{ for a brace"),
        ("a}b.csv", "the } at 1 has no other one: write }} for a brace"),
        ("{run_tiem}", "did you mean {run_time}?"),
        ("{carrier}", "a parameter is {parameters.NAME}"),
        ("{}", "isn't known"),
        ("{run_time:}", "has an empty format"),
        ("{run_time:%A}", "%A isn't known: use %Y, %m, %d"),
        ("{run_time:%}", "% isn't known"),
    ],
)
def test_what_cant_be_read(path: str, says: str) -> None:
    with pytest.raises(PathError) as error:
        render(path, VALUES)
    assert says in str(error.value)


def spec_with(path: str, *parameters: dict[str, Any]) -> DataPipelineSpec:
    manifest = load("pipeline")[0]
    spec = {**manifest["spec"], "parameters": list(parameters)}
    del spec["schedule"], spec["onFailure"]  # its parameters would need defaults, and nothing can be paused then
    spec["sources"] = [{**spec["sources"][0], "files": {**spec["sources"][0]["files"], "path": path}}]
    return DataPipelineSpec.model_validate(spec)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("{parameters.x}/{parameters.yaer}", "the pipeline has no parameter yaer; did you mean year?"),
        ("{parameters.x:%Y}", "x is no moment or date, so it takes no format"),
        ("{parameters.climbs}", "the default of the parameter climbs can't stand in a path"),
        ("{parameters.empty}", "it is empty"),
        ("a{", "has no other one"),
    ],
)
def test_verdict(path: str, says: str) -> None:
    spec = spec_with(
        path,
        {"name": "x"},
        {"name": "year", "type": "integer", "default": "1"},
        {"name": "climbs", "default": "../x"},
        {"name": "empty", "default": ""},
    )
    [problem] = check_paths(spec)
    assert problem.field == "spec.sources[0].files.path"
    assert says in problem.message


@pytest.mark.parametrize("value", ["../b", "a/b", "/etc", "*", "a?", "[a]", "..", ".", "", "a\\b", "a\nb"])
def test_a_value_is_a_name(value: str) -> None:
    spec = spec_with("a/{parameters.x}/b.csv", {"name": "x"})
    [problem] = check_parameters(spec, {"x": value})
    assert problem.field == "spec.parameters.x"
    values = {**VALUES, "x": value}
    with pytest.raises(SpecError, match=r"spec.sources\[0\].files.path"):
        rendered(spec, values)


def test_the_values_of_a_run_go_into_its_sources() -> None:
    spec = spec_with("{interval_start:%Y%m%d}/{parameters.x}.csv", {"name": "x"})
    values = bind_parameters(spec, {"x": "UA"}, VALUES["run_time"], VALUES["interval_start"])  # type: ignore[arg-type]
    assert rendered(spec, values).sources[0].in_files.path == "20260130/UA.csv"
    assert spec.sources[0].in_files.path == "{interval_start:%Y%m%d}/{parameters.x}.csv"


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_value_leads_out_of_the_folder(one: str, other: str) -> None:
    try:
        path = render("in/{parameters.a}{parameters.b}/x.csv", {"a": one, "b": other})
    except PathError:
        return
    folder, name, rest = path.split("/")
    assert (folder, rest) == ("in", "x.csv")
    assert name not in ("", ".", "..")
    assert not set(name) & set("*?[]")
