"""Condition types and reasons. They are part of the API: programs and alerts read them, so none changes its meaning."""

from __future__ import annotations

from typing import Final

# Types (kstatus: Ready always there, Reconciling and Stalled only while true).
READY: Final = "Ready"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"
SUCCEEDING: Final = "Succeeding"
PAUSED: Final = "Paused"

# Reasons of Ready=True.
SCHEDULED: Final = "Scheduled"  # the Schedule is as wished
ON_DEMAND: Final = "OnDemand"  # no schedule: runs by hand only
SUSPENDED: Final = "Suspended"  # spec.suspend
WORKERS_READY: Final = "WorkersReady"
SCALED_TO_ZERO: Final = "ScaledToZero"
CONNECTED: Final = "Connected"

# Reasons of Ready=False that need an edit (terminal: Stalled=True with the same reason).
INVALID_SPEC: Final = "InvalidSpec"
INVALID_SCHEDULE: Final = "InvalidSchedule"
INVALID_SQL: Final = "InvalidSQL"
INVALID_GRAPH: Final = "InvalidGraph"  # a cycle, an unknown input, a step that nothing reads
UNKNOWN_CONNECTION: Final = "UnknownConnection"
CONNECTION_DENIED: Final = "ConnectionDenied"  # the pool doesn't allow this use of the connection
POOL_DENIED: Final = "PoolDenied"  # allowedPipelines doesn't choose this pipeline
SCHEDULE_CONFLICT: Final = "ScheduleConflict"  # a Schedule of that id is somebody else's
REFUSED: Final = "Refused"  # the API server refused a child, with its own sentence

# Reasons of Ready=False that may pass (Reconciling=True with the same reason).
WAITING_FOR_POOL: Final = "WaitingForPool"
WAITING_FOR_SECRET: Final = "WaitingForSecret"
WAITING_FOR_CONNECTION: Final = "WaitingForConnection"
WAITING_FOR_PIPELINE: Final = "WaitingForPipeline"
WAITING_FOR_WORKERS: Final = "WaitingForWorkers"
WAITING_FOR_RUNS: Final = "WaitingForRuns"  # deletion waits for open runs
WAITING_FOR_PIPELINES: Final = "WaitingForPipelines"  # deletion of a pool waits for its pipelines
TEMPORAL_UNREACHABLE: Final = "TemporalUnreachable"
PROGRESSING: Final = "Progressing"

# Reasons of Succeeding and of a DataPipelineRun's Ready.
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
SKIPPED: Final = "Skipped"
CANCELLED: Final = "Cancelled"
RUNNING: Final = "Running"
NO_RUN_YET: Final = "NoRunYet"

# Reasons of Paused=True.
PAUSED_BY_ANNOTATION: Final = "Annotation"
PAUSED_IN_TEMPORAL: Final = "Temporal"
