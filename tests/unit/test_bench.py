"""The benchmarks are there, can be imported, and measure pipelines that would be accepted. None of them is run."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import pytest

from tests.bench import bench_backfill, bench_cache, bench_long, bench_replay, bench_workers, copying
from tests.bench.__main__ import names
from tests.bench.bench_dispositions import WAYS
from tests.bench.loading import spec as loading
from tests.bench.measurement import compared
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.verdict import check_pipeline

SPECS: dict[str, Mapping[str, Any]] = {
    "backfill": bench_backfill.spec("t"),
    "cache of an API": bench_cache.of_api(cached=True),
    "cache of a table": bench_cache.of_lookup(cached=True),
    "copying": copying.spec(),
    "long": bench_long.spec(answer=True),
    "replay": bench_replay.spec(12),
    "workers": bench_workers.spec(1000),
    **{f"load of {file}": loading(file, rules=True) for file in ("a.csv", "a.jsonl", "a.parquet")},
}
SPECS |= {
    name: (made := loading("a.csv", rules=False)) | {"sinks": [made["sinks"][0] | way.sink]}
    for name, way in WAYS.items()
}


@pytest.mark.parametrize("name", names())
def test_each_is_a_generator_of_measurements(name: str) -> None:
    measure = importlib.import_module(f"tests.bench.bench_{name}").measure
    assert inspect.isasyncgenfunction(measure)
    assert list(inspect.signature(measure).parameters) == ["quick"]


@pytest.mark.parametrize("name", SPECS)
def test_what_is_measured_would_be_accepted(name: str) -> None:
    assert check_pipeline(DataPipelineSpec.model_validate(SPECS[name])) == ()


def test_a_ratio_is_of_values_of_the_same_round() -> None:
    # Round by round 2, 4 and 3 times; the medians by themselves would say 2.5.
    made = compared("m", [20.0, 400.0, 60.0], "rows/s", "another", [10.0, 100.0, 20.0])
    assert (made.value, made.ratio, made.n) == (60.0, 3.0, 3)
