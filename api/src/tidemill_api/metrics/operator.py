"""Metrics of the operator, at its `/metrics`. Those of pipelines, pools and connections come from the leader alone."""

from __future__ import annotations

from typing import Final

from tidemill_api.metrics import CONNECTION, PIPELINE, POOL, REQUEST, RUN, SHORT, Metric

# The process.
INFO: Final = Metric("tidemill_operator_info", "gauge", "1, with the operator's version.", ("version",))
LEADER: Final = Metric("tidemill_operator_leader", "gauge", "1 if this process leads.")
LEADERSHIPS: Final = Metric("tidemill_operator_leaderships_total", "counter", "Times this process began to lead.")
OBJECTS: Final = Metric("tidemill_operator_objects", "gauge", "Known objects, of all namespaces.", ("kind",))
SERIES_DROPPED: Final = Metric(
    "tidemill_operator_objects_without_series",
    "gauge",
    "Objects that have no series of their own, since there are more than the settings allow. The newest have none.",
    ("kind",),
)

# Passes over objects.
RECONCILES: Final = Metric(
    "tidemill_operator_reconciles_total",
    "counter",
    "Passes over one object, by what they came to: changed, unchanged, failed.",
    ("kind", "result"),
)
RECONCILE_DURATION: Final = Metric(
    "tidemill_operator_reconcile_duration_seconds", "histogram", "Time of a pass.", ("kind",), SHORT, unit="seconds"
)
RECONCILE_ERRORS: Final = Metric(
    "tidemill_operator_reconcile_errors_total", "counter", "Passes that failed, by their error.", ("kind", "reason")
)
FAILING: Final = Metric(
    "tidemill_operator_failing_objects", "gauge", "Objects whose last pass failed, and is tried again.", ("kind",)
)
ACTIONS: Final = Metric(
    "tidemill_operator_actions_total",
    "counter",
    "Actions carried out, by what came of them: Done, Conflict, Refused, Unreachable.",
    ("action", "result"),
)
DRIFT: Final = Metric(
    "tidemill_operator_drift_repaired_total", "counter", "Changes made elsewhere that were put right.", ("of",)
)
QUEUE_DEPTH: Final = Metric(
    "tidemill_operator_queue_depth",
    "gauge",
    "Keys in the work queue: ready (could be worked on at once), active (being worked on), waiting (for their time).",
    ("state",),
)
QUEUE_OLDEST: Final = Metric(
    "tidemill_operator_queue_oldest_seconds",
    "gauge",
    "For how long the key that has been ready the longest has waited; 0 if none is ready.",
    unit="seconds",
)
EVENTS_DROPPED: Final = Metric(
    "tidemill_operator_kubernetes_events_dropped_total", "counter", "Kubernetes Events that were not posted."
)

# What it asks, and what it is told.
KUBERNETES_REQUESTS: Final = Metric(
    "tidemill_operator_kubernetes_requests_total",
    "counter",
    "Requests to the API server; code 0: no answer came.",
    ("verb", "kind", "code"),
)
TEMPORAL_REQUESTS: Final = Metric(
    "tidemill_operator_temporal_requests_total",
    "counter",
    "Requests to Temporal: ok, a gRPC status (NOT_FOUND is an answer, too), or UNREACHABLE.",
    ("call", "result"),
)
TEMPORAL_REQUEST_DURATION: Final = Metric(
    "tidemill_operator_temporal_request_duration_seconds",
    "histogram",
    "Time of a request to Temporal, whatever came of it.",
    ("call",),
    REQUEST,
    unit="seconds",
)
WATCH_EVENTS: Final = Metric("tidemill_operator_watch_events_total", "counter", "Events of the watches.", ("kind",))
WATCH_ERRORS: Final = Metric(
    "tidemill_operator_watch_errors_total", "counter", "Events that could not be taken in.", ("kind",)
)
WATCH_MISSED: Final = Metric(
    "tidemill_operator_watch_missed_total", "counter", "Changes that only a full list found.", ("kind",)
)
RESYNC_DURATION: Final = Metric(
    "tidemill_operator_resync_duration_seconds", "histogram", "Time of a full list.", (), SHORT, unit="seconds"
)
SWEEPS: Final = Metric("tidemill_operator_sweeps_total", "counter", "Looks at a Temporal: ok or failed.", ("result",))
SWEEP_DURATION: Final = Metric(
    "tidemill_operator_sweep_duration_seconds",
    "histogram",
    "Time of a look at a Temporal.",
    (),
    SHORT,
    unit="seconds",
)
SWEEP_AGE: Final = Metric(
    "tidemill_operator_sweep_age_seconds",
    "gauge",
    "Since the end of the last round over all Temporals, whether they answered or not; only while it leads.",
    unit="seconds",
)
SCHEDULES_SEALED: Final = Metric(
    "tidemill_operator_schedules_sealed", "gauge", "Schedules by the key of their runs' input.", ("key",)
)

# Runs as the leader sees them end.
RUN_DURATION: Final = Metric(
    "tidemill_run_duration_seconds",
    "histogram",
    "Time of a run, of those that this process saw end.",
    ("result",),
    RUN,
    unit="seconds",
    exemplar=True,
)

# Pipelines.
PIPELINE_INFO: Final = Metric(
    "tidemill_pipeline_info", "gauge", "1 for each pipeline, with the pool that it uses.", (*PIPELINE, "pool")
)
PIPELINE_CREATED: Final = Metric(
    "tidemill_pipeline_created_timestamp_seconds", "gauge", "When the pipeline was made.", PIPELINE, unit="seconds"
)
PIPELINE_CONDITION: Final = Metric(
    "tidemill_pipeline_condition",
    "gauge",
    "1 for each condition of the pipeline, with its status and reason.",
    (*PIPELINE, "type", "status", "reason"),
)
PIPELINE_SUSPENDED: Final = Metric(
    "tidemill_pipeline_suspended", "gauge", "1 if spec.suspend is true, else 0.", PIPELINE
)
PIPELINE_PAUSED: Final = Metric(
    "tidemill_pipeline_paused",
    "gauge",
    "1 if a person or pauseOnFailure has paused it, else 0.",
    PIPELINE,
)
PIPELINE_NEXT_RUN: Final = Metric(
    "tidemill_pipeline_next_run_timestamp_seconds",
    "gauge",
    "Time of the next scheduled run; only if there is one.",
    PIPELINE,
    unit="seconds",
)
PIPELINE_LAST_RUN: Final = Metric(
    "tidemill_pipeline_last_run_timestamp_seconds",
    "gauge",
    "When the newest run that ended has ended; only if there is one.",
    PIPELINE,
    unit="seconds",
)
PIPELINE_LAST_RUN_DURATION: Final = Metric(
    "tidemill_pipeline_last_run_duration_seconds",
    "gauge",
    "How long the newest run that ended took; only if there is one.",
    PIPELINE,
    unit="seconds",
)
PIPELINE_LAST_RUN_RESULT: Final = Metric(
    "tidemill_pipeline_last_run_result",
    "gauge",
    "1, with what the newest run that ended came to (Succeeded, Failed, Skipped, Cancelled); only if there is one.",
    (*PIPELINE, "result"),
)
PIPELINE_LAST_RUN_ROWS: Final = Metric(
    "tidemill_pipeline_last_run_rows",
    "gauge",
    "Rows of the newest run that ended: read, loaded, rejected, skipped; only if there is one.",
    (*PIPELINE, "outcome"),
)
PIPELINE_LAST_SUCCESS: Final = Metric(
    "tidemill_pipeline_last_success_timestamp_seconds",
    "gauge",
    "When the newest run that succeeded has ended; only if there is one.",
    PIPELINE,
    unit="seconds",
)
PIPELINE_FRESHNESS_LIMIT: Final = Metric(
    "tidemill_pipeline_freshness_limit_seconds",
    "gauge",
    "The promise spec.freshness.within; only if there is one.",
    PIPELINE,
    unit="seconds",
)
PIPELINE_FRESHNESS_AGE: Final = Metric(
    "tidemill_pipeline_freshness_age_seconds",
    "gauge",
    "Age of what is loaded: since the newest run that succeeded has ended, or else since the pipeline was made.",
    PIPELINE,
    unit="seconds",
)
PIPELINE_ACTIVE_RUNS: Final = Metric("tidemill_pipeline_active_runs", "gauge", "Open runs, at most 32.", PIPELINE)
PIPELINE_OLDEST_RUN: Final = Metric(
    "tidemill_pipeline_oldest_active_run_timestamp_seconds",
    "gauge",
    "When the oldest open run has begun; only if one is open.",
    PIPELINE,
    unit="seconds",
)
PIPELINE_MISSED: Final = Metric(
    "tidemill_pipeline_missed_runs_total",
    "counter",
    "Runs that Temporal didn't start within catchupWindow, since the Schedule was made.",
    PIPELINE,
)
PIPELINE_DRIFT: Final = Metric(
    "tidemill_pipeline_drift_repaired_total",
    "counter",
    "Changes of the pipeline's Schedule made elsewhere that were put right.",
    PIPELINE,
)
PIPELINE_RUNS: Final = Metric(
    "tidemill_pipeline_runs_total",
    "counter",
    "Runs that ended: Succeeded, Failed, Skipped, Cancelled. Kept in the pipeline's status, so no restart resets it.",
    (*PIPELINE, "result"),
)
PIPELINE_ROWS: Final = Metric(
    "tidemill_pipeline_rows_total",
    "counter",
    "Rows of runs that ended: read, loaded, rejected, skipped. Kept as tidemill_pipeline_runs_total is.",
    (*PIPELINE, "outcome"),
)
PIPELINE_RUN_SECONDS: Final = Metric(
    "tidemill_pipeline_run_seconds_total",
    "counter",
    "Time of runs that ended. Kept as tidemill_pipeline_runs_total is.",
    PIPELINE,
    unit="seconds",
)
PIPELINE_FAILURES: Final = Metric(
    "tidemill_pipeline_consecutive_failures",
    "gauge",
    "Runs that failed since the last one that succeeded.",
    PIPELINE,
)
PIPELINE_TOLERANCE: Final = Metric(
    "tidemill_pipeline_tolerated_rejects_ratio",
    "gauge",
    "spec.execution.errorTolerance.maxPercent as a part of the rows read, 0 to 1; only if it is set.",
    PIPELINE,
)
PIPELINE_LETTERS: Final = Metric(
    "tidemill_pipeline_dead_letters",
    "gauge",
    "Dead letters that the metastore had of the pipeline when its newest run ended, in any state; only if known.",
    PIPELINE,
)
PIPELINE_LETTERS_LIMIT: Final = Metric(
    "tidemill_pipeline_dead_letters_limit",
    "gauge",
    "Most dead letters of the pipeline, spec.deadLetter.maxRows: a run that needs room for more fails.",
    PIPELINE,
)

# Pools.
POOL_CONDITION: Final = Metric(
    "tidemill_pool_condition",
    "gauge",
    "1 for each condition of the pool, with its status and reason.",
    (*POOL, "type", "status", "reason"),
)
POOL_PIPELINES: Final = Metric("tidemill_pool_pipelines", "gauge", "Pipelines that use the pool.", POOL)
POOL_REPLICAS: Final = Metric(
    "tidemill_pool_replicas",
    "gauge",
    "Workers of the pool: wished (by whoever scales), there, ready, least and most (as spec.scaling allows).",
    (*POOL, "state"),
)
POOL_BACKLOG: Final = Metric(
    "tidemill_pool_backlog_tasks",
    "gauge",
    "Tasks that wait for a worker, as the scaling sees them.",
    POOL,
)
POOL_BACKLOG_AGE: Final = Metric(
    "tidemill_pool_backlog_age_seconds",
    "gauge",
    "For how long the oldest of these tasks has waited; 0 if none waits.",
    POOL,
    unit="seconds",
)
POOL_SLOTS: Final = Metric(
    "tidemill_pool_slots", "gauge", "Slots for activities of the pool's workers: busy, free.", (*POOL, "state")
)
POOL_WORKERS: Final = Metric(
    "tidemill_pool_workers", "gauge", "Workers of the pool that Temporal hears of; 0: nobody polls.", POOL
)
POOL_DECISIONS: Final = Metric(
    "tidemill_pool_scaling_decisions_total",
    "counter",
    "Decisions that changed the number of workers, by their reason. This process' own.",
    (*POOL, "direction", "reason"),
)

# Connections to Temporal.
CONNECTION_CONDITION: Final = Metric(
    "tidemill_connection_condition",
    "gauge",
    "1 for each condition of the TemporalConnection, with its status and reason.",
    (*CONNECTION, "type", "status", "reason"),
)
TEMPORAL_REACHABLE: Final = Metric(
    "tidemill_temporal_reachable",
    "gauge",
    "1 if the last look at this Temporal succeeded, 0 if it failed.",
    CONNECTION,
)
TEMPORAL_SWEEP_AGE: Final = Metric(
    "tidemill_temporal_sweep_age_seconds",
    "gauge",
    "Since the last look at this Temporal that succeeded; only if one has.",
    CONNECTION,
    unit="seconds",
)
CERTIFICATE_EXPIRY: Final = Metric(
    "tidemill_temporal_certificate_expiry_timestamp_seconds",
    "gauge",
    "When the client certificate for this Temporal ends; only if there is one.",
    CONNECTION,
    unit="seconds",
)

ALL: Final[tuple[Metric, ...]] = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""All of them, in the order of this file."""
