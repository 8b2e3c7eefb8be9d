"""Who decides for each kind, and which Temporals there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tidemill_codec.folder import Keys
from tidemill_operator.adapters.kubernetes import KubernetesClient
from tidemill_operator.adapters.temporals import Temporals
from tidemill_operator.connection import desire as connection_desire
from tidemill_operator.connection import observe as connection_observe
from tidemill_operator.connection import plan as connection_plan
from tidemill_operator.connection import report as connection_report
from tidemill_operator.connection import resolve as connection_resolve
from tidemill_operator.own_temporal import own_target
from tidemill_operator.pipeline import desire as pipeline_desire
from tidemill_operator.pipeline import observe as pipeline_observe
from tidemill_operator.pipeline import plan as pipeline_plan
from tidemill_operator.pipeline import remains as pipeline_remains
from tidemill_operator.pipeline import report as pipeline_report
from tidemill_operator.pool import desire as pool_desire
from tidemill_operator.pool import observe as pool_observe
from tidemill_operator.pool import plan as pool_plan
from tidemill_operator.pool import report as pool_report
from tidemill_operator.reconcile import Reconciler
from tidemill_operator.run import desire as run_desire
from tidemill_operator.run import observe as run_observe
from tidemill_operator.run import plan as run_plan
from tidemill_operator.run import report as run_report
from tidemill_operator.settings import OperatorSettings
from tidemill_operator.store import MemoryStore

_CONNECTION: Final = Reconciler(
    "TemporalConnection",
    connection_observe.observe,
    connection_desire.desire,
    connection_plan.plan,
    connection_report.report,
    connection_observe.remains,
)
_POOL: Final = Reconciler("WorkerPool", pool_observe.observe, pool_desire.desire, pool_plan.plan, pool_report.report)
_PIPELINE: Final = Reconciler(
    "DataPipeline",
    pipeline_observe.observe,
    pipeline_desire.desire,
    pipeline_plan.plan,
    pipeline_report.report,
    pipeline_remains.remains,
)
_RUN: Final = Reconciler("DataPipelineRun", run_observe.observe, run_desire.desire, run_plan.plan, run_report.report)
KINDS: Final[Mapping[str, Reconciler[Any, Any]]] = {
    _CONNECTION.kind: _CONNECTION,
    _POOL.kind: _POOL,
    _PIPELINE.kind: _PIPELINE,
    _RUN.kind: _RUN,
}


def temporals(
    settings: OperatorSettings,
    store: MemoryStore,
    kubernetes: KubernetesClient,
    count: Callable[[str, str, float], None],
    keys: Keys | None = None,
) -> Temporals:
    """The operator's own Temporal, if it has one, and those that TemporalConnections lead to."""
    resolve = connection_resolve.resolver(kubernetes, store)
    return Temporals(settings.decisions.installation, own_target(settings), resolve, count, keys)
