"""What the workflow and its activities say to each other: ids, counts and settings; no rows, schemas or file lists."""

from __future__ import annotations

from typing import Final, Literal

from tidemill_api.contract import Message, RunError, RunInput, RunResult
from tidemill_api.v1alpha1.execution import ErrorTolerance

BEGIN: Final = "begin"
PLAN: Final = "plan"
LOAD_CHUNK: Final = "load_chunk"
PUBLISH: Final = "publish"
FINISH: Final = "finish"
"""Names of the activities."""

SLOT_FREE: Final = "slot-free"
"""Signal to a waiting run: the slot may be free. It comes early at best; without it the run asks again by itself."""

HANDED_BACK: Final = "HandedBack"
"""Type of failure of a chunk that a stopping worker gives back. It says nothing about the chunk."""


class Claimant(Message):
    """A run that wants to begin, or has to end: whose it is, and who it is to Temporal (over all continuations)."""

    order: RunInput
    run_key: str
    run_time: str
    """Nominal time, RFC 3339 in UTC."""
    workflow_id: str
    workflow_run_id: str
    """Run id of the first workflow run."""


class Limits(Message):
    """`spec.execution`, as numbers; times in seconds."""

    timeout: float
    parallelism: int
    initial_interval: float
    backoff_coefficient: float
    maximum_interval: float
    maximum_attempts: int
    tolerance: ErrorTolerance | None = None


class Planned(Message):
    """The plan's size; the plan itself is in the metastore."""

    chunks: int
    bytes: int
    staged: tuple[str, ...] = ()
    """Sinks to publish after the chunks."""
    waves: int = 1
    """How many waves there are. The chunks are those of the waves that have been planned."""


class Begun(Message):
    """What became of the wish to begin. Began has `execution` and `limits`, Skipped has `result`."""

    state: Literal["Began", "Waiting", "Skipped"]
    execution: int = 0
    limits: Limits | None = None
    planned: Planned | None = None
    """The plan, if it was made at once; else the step `plan` makes it, or tells why it can't be made."""
    lineage: bool = False
    """Whether the pool tells somebody what its runs read and write."""
    result: RunResult | None = None


class RunTask(Message):
    """One execution of a run key."""

    uid: str
    run_key: str
    execution: int


class PlanTask(RunTask):
    """The plan of an execution, or its continuation by a later wave."""

    wave: int = 0
    before: int = 0
    """Chunks of the waves before."""


class ChunkTask(RunTask):
    """One chunk of an execution."""

    chunk: int


class Counts(Message):
    """Rows and bytes of one chunk, or of all chunks so far."""

    chunks: int = 0
    rows_read: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0
    rows_skipped: int = 0
    rows_kept: int = 0
    """For later waves."""
    bytes_read: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            chunks=self.chunks + other.chunks,
            rows_read=self.rows_read + other.rows_read,
            rows_loaded=self.rows_loaded + other.rows_loaded,
            rows_rejected=self.rows_rejected + other.rows_rejected,
            rows_skipped=self.rows_skipped + other.rows_skipped,
            rows_kept=self.rows_kept + other.rows_kept,
            bytes_read=self.bytes_read + other.bytes_read,
        )


class PublishTask(RunTask):
    """Publishing of one staged sink."""

    sink: str


class Ending(Message):
    """How a run ended; `finish` records it."""

    claimant: Claimant
    ending: Literal["Succeeded", "Failed", "Cancelled"]
    error: RunError | None = None


class Carried(Message):
    """What a run takes along when it continues as new, which keeps its history short."""

    claimant_key: str
    run_time: str
    deadline: float | None = None
    """Unix time at which the run has taken too long; None while it waits for its slot."""
    execution: int = 0
    limits: Limits | None = None
    planned: Planned | None = None
    lineage: bool = False
    wave: int = 0
    next_chunk: int = 0
    counts: Counts = Counts()
