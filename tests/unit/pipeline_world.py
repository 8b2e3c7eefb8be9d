"""A pipeline as its decisions see it: what is wished, planned and told of it."""

from __future__ import annotations

from typing import Any

from tests.unit.operator_world import NOW, PIPELINE, SETTINGS, pipeline, pool
from tidemill_api import conditions as said
from tidemill_api.v1alpha1 import DataPipelineStatus
from tidemill_operator.actions import (
    Action,
    Outcome,
)
from tidemill_operator.clients import Object
from tidemill_operator.pipeline.desire import desire
from tidemill_operator.pipeline.observe import Observed, There
from tidemill_operator.pipeline.plan import plan
from tidemill_operator.pipeline.report import report
from tidemill_operator.standing import condition
from tidemill_operator.views import ScheduleSeen


def observed(
    manifest: Object | None = None, found: ScheduleSeen | None = None, /, *, with_pool: bool = True, **more: Any
) -> Observed:
    here = There(None, schedule=found, **{name: more.pop(name) for name in ("trouble", "open_runs") if name in more})
    return Observed(manifest or pipeline(), more.pop("pool", pool()) if with_pool else None, here, **more)


def settled(**changes: Any) -> Object:
    """A pipeline whose Schedule was made as it is wished now."""
    plain = pipeline(**changes)
    wished = desire(observed(plain), SETTINGS).reading.wish_hash
    return plain | {"status": {"schedule": {"id": PIPELINE.schedule, "wished": wished, "made": "made-1"}}}


def planned(seen: Observed) -> tuple[Action, ...]:
    return plan(desire(seen, SETTINGS), seen, NOW)


def kinds(actions: tuple[Action, ...]) -> list[str]:
    return [type(action).__name__ for action in actions]


def told(seen: Observed, *outcomes: Outcome) -> Object:
    status = report(desire(seen, SETTINGS), seen, outcomes, NOW)
    assert status is not None
    DataPipelineStatus.model_validate(status)
    return status


def ready_of(seen: Observed, *outcomes: Outcome) -> tuple[str, str]:
    found = condition(told(seen, *outcomes), said.READY)
    assert found is not None
    return found["status"], found["reason"]
