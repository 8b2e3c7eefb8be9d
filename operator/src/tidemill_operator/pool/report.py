"""What is told of a pool. Pure; telling it again changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tidemill_api import conditions as said
from tidemill_api.names import ANNOTATION_RELEASE
from tidemill_operator.actions import ApplyObject, Outcome
from tidemill_operator.clients import Object
from tidemill_operator.pool.children import selector
from tidemill_operator.pool.desire import Desired
from tidemill_operator.pool.observe import Observed
from tidemill_operator.pool.pods import refusal, trouble_of
from tidemill_operator.pool.scaling_report import scaling_status
from tidemill_operator.reading import status_of
from tidemill_operator.release import releasing
from tidemill_operator.standing import Standing, claims, condition, conditions, ready, waits
from tidemill_operator.trouble import standing_of

_SHOWN = 5


def report(desired: Desired, observed: Observed, outcomes: Sequence[Outcome], now: datetime) -> Object | None:
    """The whole status; None: leave it as it is (somebody wrote in between, the next pass follows at once)."""
    if any(outcome.result == "Conflict" for outcome in outcomes):
        return None
    metadata = observed.manifest["metadata"]
    before = status_of(observed.manifest)
    deployment = _deployment(observed, outcomes)
    counted = (deployment or {}).get("status") or {}
    generation = metadata.get("generation", 0)
    standing = _standing(desired, observed, deployment, outcomes)
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": conditions(
            (*claims(standing), *releasing(observed.manifest, observed.trouble, observed.patience, now)),
            before.get("conditions") or (),
            generation,
            now,
        ),
        "replicas": counted.get("replicas", 0),
        "readyReplicas": counted.get("readyReplicas", 0),
        "selector": ",".join(f"{name}={value}" for name, value in sorted(selector(metadata["name"]).items())),
        "taskQueue": desired.task_queue,
        "desiredReplicas": desired.replicas,
        "pipelines": len(observed.pipelines),
    }
    if observed.scaled is not None:
        scaling = scaling_status(observed.scaled, before.get("scaling") or {}, outcomes, now)
        status.update({"scaling": scaling} if scaling else {})
    return status


def _deployment(observed: Observed, outcomes: Sequence[Outcome]) -> Object | None:
    """Our Deployment as it is after the outcomes."""
    found = observed.children.get("Deployment")
    for outcome in outcomes:
        if isinstance(outcome.action, ApplyObject) and outcome.object is not None:
            applied = dict(outcome.object)
            found = applied if applied["kind"] == "Deployment" else found
    return found


def _standing(desired: Desired, observed: Observed, deployment: Object | None, outcomes: Sequence[Outcome]) -> Standing:
    if observed.going:
        return _leaving(observed)
    if desired.blocked is not None:
        return desired.blocked
    if (trouble := standing_of(outcomes)) is not None:
        return trouble
    return _workers(desired, observed, deployment)


def _workers(desired: Desired, observed: Observed, deployment: Object | None) -> Standing:
    """What the Deployment says of itself, in its own words where it fails."""
    if deployment is None:
        return waits(said.PROGRESSING, "the Deployment isn't there yet")
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return waits(said.PROGRESSING, "the Deployment is being rolled out")
    if (refused := refusal(deployment)) is not None:
        return refused
    wished, there, updated = desired.replicas, status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    every = status.get("replicas", 0)
    if wished == 0 and observed.scaled is not None and observed.scaled.acts:
        return ready(said.SCALED_TO_ZERO, "There is nothing to do: workers come with the next run.")
    if wished == 0:
        return ready(said.SCALED_TO_ZERO, "spec.replicas is 0: runs wait until there are workers.")
    if there >= wished and updated >= wished and every <= wished:
        return ready(said.WORKERS_READY, f"{there} of {wished} workers are ready.")
    if observed.pods is not None and (trouble := trouble_of(observed.pods, observed.pod_events)) is not None:
        return trouble
    progress = condition(status, "Progressing")
    stuck = f"; {progress.get('message', '')}" if progress is not None and progress.get("status") == "False" else ""
    if every > wished and there >= wished:  # a former one leaves when a new one is ready: those ready may all be former
        former = f"{every - wished} of {every} workers are former ones, which go on until new ones are ready"
        return waits(said.WAITING_FOR_WORKERS, former + stuck)
    secrets = f"; they need the Secrets {', '.join(desired.secrets)}" if desired.secrets else ""
    return waits(said.WAITING_FOR_WORKERS, f"{min(there, updated)} of {wished} workers are ready{secrets}{stuck}")


def _leaving(observed: Observed) -> Standing:
    if observed.trouble is not None:
        return waits(
            observed.trouble.reason,
            f"deletion waits to look for open runs: {observed.trouble.message}; to let the pool go without, "
            f'annotate it {ANNOTATION_RELEASE}: "true"',
        )
    cancels = observed.manifest["spec"].get("deletionPolicy") == "Cancel"
    if observed.pipelines and not cancels:
        return waits(
            said.WAITING_FOR_PIPELINES,
            f"deletion waits for the pipelines that use the pool: {_listed(observed.pipelines)}",
        )
    if observed.open_runs:
        runs = _listed([run.workflow_id for run in observed.open_runs])
        how = "which were cancelled" if cancels else "as spec.deletionPolicy says Wait; Cancel ends them"
        return waits(said.WAITING_FOR_RUNS, f"deletion waits for the open runs {runs}, {how}")
    return waits(said.PROGRESSING, "the pool is being deleted")


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{', '.join(items[:_SHOWN])}{more}"
