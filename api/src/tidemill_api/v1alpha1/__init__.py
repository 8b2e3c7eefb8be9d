"""The four kinds of `tidemill.dev/v1alpha1`: one file a kind, each the single truth for its fields, defaults and rules."""

from tidemill_api.v1alpha1._base import (
    Condition,
    Model,
    ObjectMeta,
    Rule,
    parse_bytes,
    parse_duration,
)
from tidemill_api.v1alpha1.datapipeline import DataPipeline, DataPipelineSpec, DataPipelineStatus
from tidemill_api.v1alpha1.datapipelinerun import (
    DataPipelineRun,
    DataPipelineRunSpec,
    DataPipelineRunStatus,
    RunPhase,
    RunSummary,
)
from tidemill_api.v1alpha1.temporalconnection import (
    TemporalConnection,
    TemporalConnectionSpec,
    TemporalConnectionStatus,
)
from tidemill_api.v1alpha1.workerpool import WorkerPool, WorkerPoolSpec, WorkerPoolStatus

GROUP = "tidemill.dev"
VERSION = "v1alpha1"
KINDS = (DataPipeline, WorkerPool, DataPipelineRun, TemporalConnection)
"""The root models, in the order in which people meet them."""

__all__ = [
    "GROUP",
    "KINDS",
    "VERSION",
    "Condition",
    "DataPipeline",
    "DataPipelineRun",
    "DataPipelineRunSpec",
    "DataPipelineRunStatus",
    "DataPipelineSpec",
    "DataPipelineStatus",
    "Model",
    "ObjectMeta",
    "Rule",
    "RunPhase",
    "RunSummary",
    "TemporalConnection",
    "TemporalConnectionSpec",
    "TemporalConnectionStatus",
    "WorkerPool",
    "WorkerPoolSpec",
    "WorkerPoolStatus",
    "parse_bytes",
    "parse_duration",
]
