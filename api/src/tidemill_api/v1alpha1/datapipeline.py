"""`DataPipeline`: what is read, how it is checked and transformed, where it is loaded, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import ListKey, Model, Rule
from tidemill_api.v1alpha1._object import AGE, Conditions, Generation, PrinterColumn, Resource, Served, condition
from tidemill_api.v1alpha1._types import LocalRef, ObjectName, ParameterName, Scalar
from tidemill_api.v1alpha1.check import Check, RecentRuns
from tidemill_api.v1alpha1.datapipelinerun import RunSummary
from tidemill_api.v1alpha1.dead_letter import DeadLetter
from tidemill_api.v1alpha1.execution import Chunking, ErrorTolerance, Execution, Retry
from tidemill_api.v1alpha1.freshness import Freshness
from tidemill_api.v1alpha1.notification import Notification, OnFailure
from tidemill_api.v1alpha1.run_totals import RunTotals
from tidemill_api.v1alpha1.schedule import Predecessor, Schedule
from tidemill_api.v1alpha1.sink import SCD2, DedupColumn, PostgresTable, Sink, WrittenFiles
from tidemill_api.v1alpha1.source import (
    CSV,
    JSON,
    Column,
    Contract,
    FileSource,
    Format,
    Incremental,
    JSONLines,
    Parquet,
    PostgresSource,
    Source,
)
from tidemill_api.v1alpha1.step import RowRule, SQLStep, Step, ValidateStep

__all__ = [
    "CSV",
    "JSON",
    "SCD2",
    "AfterStatus",
    "Check",
    "Chunking",
    "Column",
    "Contract",
    "DataPipeline",
    "DataPipelineSpec",
    "DataPipelineStatus",
    "DeadLetter",
    "DedupColumn",
    "ErrorTolerance",
    "Execution",
    "FileSource",
    "Format",
    "Freshness",
    "Incremental",
    "JSONLines",
    "Parameter",
    "Parquet",
    "PauseStatus",
    "PostgresSource",
    "PostgresTable",
    "Predecessor",
    "RecentRuns",
    "Retry",
    "RowRule",
    "RunSummary",
    "RunTotals",
    "SQLStep",
    "Schedule",
    "ScheduleStatus",
    "Sink",
    "Source",
    "Step",
    "ValidateStep",
    "WaitingRun",
    "WrittenFiles",
]


class Parameter(Model):
    """A value that a run can be given; SQL and rules use it as `$name`, bound, never pasted."""

    name: ParameterName
    """Name; `run_time`, `interval_start` and `interval_end` are taken: they are the run's own."""
    type: Literal["string", "integer", "number", "boolean", "date", "timestamp"] = "string"
    """Type of the value. Dates and timestamps are written as in ISO 8601."""
    default: Scalar | None = None
    """Value of runs that don't give one: text or a whole number; booleans, fractions and dates as text (`"true"`,
    `"0.5"`). The parameters of a scheduled pipeline all need one."""

    rules = (
        Rule(
            cel="!(self.name in ['run_time', 'interval_start', 'interval_end'])",
            message="run_time, interval_start and interval_end are taken: they are the run's own",
            holds=lambda s: s.name not in {"run_time", "interval_start", "interval_end"},
            field=".name",
        ),
    )


class DataPipelineSpec(Model):
    """What is read, how it is checked and transformed, where it is loaded, and when."""

    worker_pool_ref: LocalRef
    """The pool whose workers run it."""
    suspend: bool = False
    """No scheduled run starts while this is true; open runs go on, runs by hand still work."""
    schedule: Schedule | None = None
    """When it runs; without a schedule it runs by hand only."""
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=32), ListKey("name")] = ()
    """Values that a run can be given."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=16), ListKey("name")]
    """What is read."""
    steps: Annotated[tuple[Step, ...], Field(max_length=32), ListKey("name")] = ()
    """What is done to the rows."""
    sinks: Annotated[tuple[Sink, ...], Field(min_length=1, max_length=16), ListKey("name")]
    """Where rows are loaded."""
    checks: Annotated[tuple[Check, ...], Field(max_length=64), ListKey("name")] = ()
    """What must hold of the sinks' tables after a run. Each is a query over the table; replays aren't checked."""
    execution: Execution = Execution()
    """How a run is carried out."""
    dead_letter: DeadLetter = DeadLetter()
    """What is kept of rejected rows, for how long, and how many."""
    freshness: Freshness | None = None
    """How old what it has loaded may be."""
    notifications: Annotated[tuple[Notification, ...], Field(max_length=16)] = ()
    """Who is told what runs came to."""
    on_failure: OnFailure | None = None
    """What happens when runs fail, besides what `notifications` tell."""
    deletion_policy: Literal["Wait", "Cancel"] = "Wait"
    """When the pipeline is deleted: Wait for open runs, or Cancel them."""

    rules = (
        Rule(
            cel="!has(self.steps) || !self.steps.exists(t, self.sources.exists(s, s.name == t.name))",
            message="a step can't have the name of a source",
            holds=lambda s: not {t.name for t in s.steps} & {o.name for o in s.sources},
            field=".steps",
        ),
        Rule(
            cel="!has(self.checks) || self.checks.all(c, self.sinks.exists(s, s.name == c.sink))",
            message="each check needs the name of a sink",
            holds=lambda s: {c.sink for c in s.checks} <= {k.name for k in s.sinks},
            field=".checks",
        ),
        Rule(
            cel="!has(self.schedule) || !has(self.parameters) || self.parameters.all(p, has(p.default))",
            message="a scheduled pipeline's parameters all need a default",
            holds=lambda s: s.schedule is None or all(p.default is not None for p in s.parameters),
            field=".parameters",
        ),
        Rule(
            cel="!has(self.onFailure) || (has(self.schedule) && (!has(self.schedule.after) || "
            "size(self.schedule.after) == 0))",
            message="onFailure.pauseAfter pauses a schedule with times of its own, and the pipeline has none",
            holds=lambda s: s.on_failure is None or (s.schedule is not None and not s.schedule.after),
            field=".onFailure",
        ),
        Rule(
            cel="!has(self.onFailure) || !has(self.schedule) || !has(self.schedule.pauseOnFailure) || "
            "!self.schedule.pauseOnFailure",
            message="onFailure.pauseAfter and schedule.pauseOnFailure both say when to pause: keep one of them",
            holds=lambda s: s.on_failure is None or s.schedule is None or not s.schedule.pause_on_failure,
            field=".onFailure",
        ),
    )


class PauseStatus(Model):
    """A person's (or pauseOnFailure's) pause of the Schedule."""

    by: Literal["Annotation", "Temporal"]
    """Annotation: `tidemill.dev/paused` on the pipeline; Temporal: paused in Temporal itself."""
    note: Annotated[str, Field(max_length=4096)] = ""
    """What was said with it."""


class ScheduleStatus(Model):
    """The pipeline's Schedule in Temporal."""

    id: Annotated[str, Field(max_length=1000)]
    """Id of the Schedule."""
    connection: ObjectName | None = None
    """The TemporalConnection that it was made through; none: the operator's own Temporal."""
    wished: Annotated[str, Field(max_length=64)] | None = None
    """Hash of what was last asked of the server."""
    made: Annotated[str, Field(max_length=64)] | None = None
    """Hash of what the server made of it, for finding drift."""
    drift_repaired: Annotated[int, Field(ge=0)] = 0
    """How often a change made elsewhere was put right."""


class QueryStatus(Model):
    """A query that stands in a ConfigMap, as it was read last."""

    config_map: ObjectName
    """Name of the ConfigMap."""
    key: Annotated[str, Field(max_length=253)]
    """Key within its `data`."""
    hash: Annotated[str, Field(max_length=64)]
    """Of the text: new runs have the one with this hash."""


class WaitingRun(Model):
    """A time for which a pipeline that follows others hasn't started yet."""

    key: Annotated[str, Field(max_length=64)]
    """The time (RFC 3339), which will be the run's key."""
    waits_for: Annotated[tuple[Annotated[str, Field(max_length=320)], ...], Field(max_length=8)]
    """Pipelines that have no successful run for it yet, each with how its run stands: `landing (Failed)`."""


class AfterStatus(Model):
    """Of a pipeline that follows others."""

    since: Annotated[str, Field(max_length=64)] | None = None
    """Runs of its predecessors for times after this one start it (RFC 3339); none while it is suspended or paused."""
    waiting: Annotated[tuple[WaitingRun, ...], Field(max_length=10)] = ()
    """Times that some of its predecessors have run for, or are running for: the newest ten."""


class DataPipelineStatus(Model):
    """What the operator saw of the pipeline."""

    observed_generation: Generation | None = None
    """The generation that this status speaks of."""
    conditions: Conditions = ()
    """Ready; Reconciling or Stalled while they are true; Succeeding (the last run), Fresh (the promise) and Paused."""
    schedule: ScheduleStatus | None = None
    """The Schedule in Temporal."""
    schedule_summary: Annotated[str, Field(max_length=256)] | None = None
    """The schedule in a few words, for `kubectl get`."""
    after: AfterStatus | None = None
    """What a pipeline that follows others waits for."""
    next_runs: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=10)] = ()
    """Next nominal times (RFC 3339)."""
    last_run: RunSummary | None = None
    """The newest run that ended."""
    totals: RunTotals | None = None
    """What all runs came to, for metrics."""
    active_runs: Annotated[tuple[RunSummary, ...], Field(max_length=32)] = ()
    """Open runs."""
    missed_runs: Annotated[int, Field(ge=0)] | None = None
    """Runs that Temporal did not start within catchupWindow, since the Schedule was made."""
    queries: Annotated[tuple[QueryStatus, ...], Field(max_length=32)] = ()
    """Queries that stand in ConfigMaps."""
    paused: PauseStatus | None = None
    """A pause that Git doesn't know of."""


class DataPipeline(Resource):
    """Reads sources, checks and transforms their rows and loads them into sinks, on a schedule."""

    served = Served(
        plural="datapipelines",
        short_name="dpl",
        selectable=(".spec.workerPoolRef.name",),
        columns=(
            PrinterColumn("Ready", condition("Ready", "status")),
            PrinterColumn("Schedule", ".status.scheduleSummary"),
            PrinterColumn("Suspended", ".spec.suspend", "boolean"),
            PrinterColumn("Paused", ".status.paused.by"),
            PrinterColumn("Last run", ".status.lastRun.finishedAt", "date"),
            PrinterColumn("Result", ".status.lastRun.result"),
            PrinterColumn("Next run", ".status.nextRuns[0]"),
            AGE,
            PrinterColumn("Read", ".status.lastRun.rowsRead", "integer", wide=True),
            PrinterColumn("Loaded", ".status.lastRun.rowsLoaded", "integer", wide=True),
            PrinterColumn("Rejected", ".status.lastRun.rowsRejected", "integer", wide=True),
            PrinterColumn("Message", condition("Ready", "message"), wide=True),
        ),
    )

    api_version: Literal["tidemill.dev/v1alpha1"] = "tidemill.dev/v1alpha1"
    kind: Literal["DataPipeline"] = "DataPipeline"
    spec: DataPipelineSpec
    """What is read, how it is checked and transformed, where it is loaded, and when."""
    status: DataPipelineStatus | None = None
    """What the operator saw."""
