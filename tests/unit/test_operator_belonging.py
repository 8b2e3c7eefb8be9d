"""Which installation looks after an object, as a table."""

from __future__ import annotations

import pytest

from tests.unit.operator_world import pipeline, pool, run
from tidemill_api.names import ANNOTATION_INSTALLATION
from tidemill_operator.belonging import other_installation
from tidemill_operator.clients import Object
from tidemill_operator.store import MemoryStore

THEIRS = {"taskQueue": "theirs/travel/etl"}
SCHEDULED = {"schedule": {"id": "theirs/travel/flights"}}
STARTED = {"run": {"workflowId": "theirs/travel/flights/again"}}


def said(installation: str) -> dict[str, str]:
    return {ANNOTATION_INSTALLATION: installation}


@pytest.mark.parametrize(
    ("kind", "manifest", "others", "expected"),
    [
        ("WorkerPool", pool(), [], None),
        ("WorkerPool", pool(status={"taskQueue": "inst/travel/etl"}), [], None),
        ("WorkerPool", pool(status={"taskQueue": "inst2/travel/etl"}), [], "inst2"),
        ("WorkerPool", pool(status=THEIRS), [], "theirs"),
        ("WorkerPool", pool(status=THEIRS, annotations=said("inst")), [], None),
        ("WorkerPool", pool(annotations=said("theirs")), [], "theirs"),
        ("DataPipeline", pipeline(), [], None),
        ("DataPipeline", pipeline(status=SCHEDULED), [pool()], "theirs"),
        ("DataPipeline", pipeline(), [pool(status=THEIRS)], "theirs"),
        ("DataPipeline", pipeline(), [pool(status=THEIRS, annotations=said("inst"))], None),
        ("DataPipelineRun", run(status=STARTED), [], "theirs"),
        ("DataPipelineRun", run(), [pipeline(status=SCHEDULED)], "theirs"),
        ("DataPipelineRun", run(), [pipeline(), pool(status=THEIRS)], "theirs"),
        ("DataPipelineRun", run(), [pipeline(), pool()], None),
        ("TemporalConnection", {"metadata": {"name": "own"}, "spec": {}}, [], None),
    ],
)
def test_whose_an_object_is(kind: str, manifest: Object, others: list[Object], expected: str | None) -> None:
    store = MemoryStore()
    for other in others:
        store.put(other["kind"], other)

    assert other_installation(kind, manifest, "inst", store) == expected
