"""What operator, worker and CLI say to each other: the worker's configuration, and a run's input, progress and result.

All of it is JSON with camelCase names. Rows, schemas and file lists never travel through Temporal; references and
counts do.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from tidemill_api.v1alpha1.cache import Cache
from tidemill_api.v1alpha1.lineage import Lineage
from tidemill_api.v1alpha1.python import PythonSettings
from tidemill_api.v1alpha1.workerpool import Artifacts, Concurrency, Connection, Metastore


class Message(BaseModel):
    """A frozen message. Unknown fields are ignored, so that parts of neighbouring versions understand each other."""

    model_config = ConfigDict(
        frozen=True, defer_build=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


class TemporalAddress(Message):
    """How to reach Temporal. Files hold what is secret; paths are relative to the secrets folder."""

    address: str
    namespace: str = "default"
    tls: bool = False
    server_name: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    api_key_file: str | None = None


class WorkerConfig(Message):
    """The worker's whole configuration: `worker.json` in the pool's ConfigMap. It holds no secret.

    The value behind a `secretKeyRef` is the file `<secrets folder>/<secret name>/<key>`.
    """

    installation: str
    namespace: str
    pool: str
    task_queue: str
    temporal: TemporalAddress
    concurrency: Concurrency = Concurrency()
    connections: tuple[Connection, ...]
    metastore: Metastore
    artifacts: Artifacts | None = None
    cache: Cache | None = None
    python: PythonSettings | None = None
    lineage: Lineage | None = None


class RunInput(Message):
    """The argument of the workflow `DataPipelineRun`: a snapshot, so that a run is never changed under way."""

    installation: str
    namespace: str
    pipeline: str
    uid: str
    """The DataPipeline's uid."""
    generation: int = 0
    spec: dict[str, Any]
    """The pipeline's spec as JSON (`DataPipelineSpec.to_json`) without `schedule` and `onFailure`, of which a run needs
    but this:"""
    schedule: dict[str, Any] | None = None
    """The times that `spec.schedule` names, as JSON: a run's interval begins at the one before its own. None: none."""
    pause_after: int | None = None
    """`spec.onFailure.pauseAfter`: so many scheduled runs that failed in a row pause the Schedule. None: never."""
    overlap_policy: Literal["Skip", "BufferOne", "BufferAll", "CancelOther", "TerminateOther", "AllowAll"] = "Skip"
    parameters: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Values given for this run; the spec's defaults fill the rest."""
    run_key: str | None = None
    """None for scheduled runs: then the key is the nominal time that the Schedule started it for."""
    trigger: Literal["Schedule", "Manual", "Backfill"] = "Schedule"
    replay: dict[str, Any] | None = None
    """`DataPipelineRun.spec.replay` as JSON: rejected rows to run again, instead of the sources."""
    backfill: str | None = None
    """Of a backfill's run: the backfill's name. Such a run takes no part in the overlap policy."""
    reprocess: Literal["None", "Failed", "Completed"] = "Failed"
    """Whether a key is processed that was processed before: never, if it didn't succeed, or always."""


class BackfillInput(Message):
    """The argument of the workflow `DataPipelineBackfill`. Moments are RFC 3339."""

    run: RunInput
    """What each of its runs gets, but for the key. Its `schedule` names the times, its `runKey` is the backfill's."""
    start: str
    """First moment, included."""
    end: str
    """Last moment, not included."""
    concurrency: int = 1
    reprocess: Literal["None", "Failed", "Completed"] = "None"


class BackfillProgress(Message):
    """How far a backfill is: answer to its query `progress`, and what its memo holds. Numbers of runs."""

    total: int | None = None
    """Times in the range; None: not known yet."""
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    running: int = 0
    next: str | None = None
    """The time that comes next; None: all have begun, or it isn't known yet."""
    failed_keys: tuple[str, ...] = ()
    """Of the first runs that failed."""


class StepCount(Message):
    """Rows of one reading or validating step. Always `rows_in == rows_out + rejected + skipped`."""

    step: str
    """Name of the source or step."""
    rows_in: int = 0
    rows_out: int = 0
    rejected: int = 0
    skipped: int = 0
    nulled: dict[str, int] = Field(default_factory=dict)
    """Of a source, by column: values that weren't of its type and are NULL now, in rows that go on."""


class SinkCount(Message):
    """Rows that a run has written to one sink."""

    sink: str
    rows: int = 0
    """Rows handed to the sink."""
    inserted: int | None = None
    updated: int | None = None


class CheckResult(Message):
    """What a check of `spec.checks` came to in one run."""

    check: str
    sink: str
    metric: str
    severity: Literal["Error", "Warn"] = "Error"
    passed: bool = True
    value: float | None = None
    """What was measured; None if there was nothing to measure."""
    message: str = ""
    """Of one that didn't pass: how far it is from what it should be."""


class RunError(Message):
    """Why a run failed. Holds no data of rows."""

    type: str
    message: str
    step: str | None = None
    retryable: bool = False


class RunResult(Message):
    """The result of the workflow; of a failed run it is the details of the failure."""

    pipeline: str
    run_key: str
    execution: int = 0
    result: Literal["Succeeded", "Failed", "Skipped", "Cancelled"]
    rows_read: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0
    rows_skipped: int = 0
    chunks: int = 0
    steps: tuple[StepCount, ...] = ()
    sinks: tuple[SinkCount, ...] = ()
    failed_checks: tuple[CheckResult, ...] = ()
    """Those that didn't pass, of either severity."""
    schema_changes: tuple[str, ...] = ()
    """How the columns that it reads differ from those of the run before: one sentence each."""
    error: RunError | None = None
    duration_seconds: float = 0.0
    dead_letters: int | None = None
    """Dead letters of the pipeline in the metastore when it ended; None: not known."""


class RunProgress(Message):
    """Answer to the query `progress`; also what a chunk's heartbeat carries (then it counts that chunk alone)."""

    phase: Literal["Waiting", "Planning", "Loading", "Publishing", "Done"] = "Loading"
    chunks_done: int = 0
    chunks_total: int = 0
    rows_read: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0
    bytes_read: int = 0
    bytes_total: int = 0


PROGRESS_QUERY = "progress"


class ScheduleMemo(Message):
    """Whose a Schedule is; written when it is made, and never changed (the server can't)."""

    installation: str
    namespace: str
    name: str
    uid: str


MEMO_KEY = "tidemill"
"""Key of the memo (of Schedules and of runs) under which a `ScheduleMemo` stands as JSON."""
RESULT_MEMO_KEY = "tidemill.result"
"""Key of a run's memo under which its `RunResult` stands when it has ended: one listing shows what all runs came to."""
BACKFILL_MEMO_KEY = "tidemill.backfill"
"""Key of a backfill's memo under which its `BackfillProgress` stands."""
