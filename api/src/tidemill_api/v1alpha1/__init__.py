"""The four kinds of `tidemill.dev/v1alpha1`: each file is the single truth for its fields, defaults and rules."""

from tidemill_api.v1alpha1._base import ListKey, Model, Rule, field_path
from tidemill_api.v1alpha1._object import Condition, ObjectMeta, PrinterColumn, Resource, Served
from tidemill_api.v1alpha1._types import parse_bytes, parse_duration, parse_timestamp
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
KINDS: tuple[type[Resource], ...] = (DataPipeline, WorkerPool, DataPipelineRun, TemporalConnection)
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
    "ListKey",
    "Model",
    "ObjectMeta",
    "PrinterColumn",
    "Resource",
    "Rule",
    "RunPhase",
    "RunSummary",
    "Served",
    "TemporalConnection",
    "TemporalConnectionSpec",
    "TemporalConnectionStatus",
    "WorkerPool",
    "WorkerPoolSpec",
    "WorkerPoolStatus",
    "field_path",
    "parse_bytes",
    "parse_duration",
    "parse_timestamp",
]
