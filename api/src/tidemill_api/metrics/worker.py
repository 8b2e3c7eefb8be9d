"""Metrics of a worker, at its `/metrics`. Every one begins with the labels of its pool.

What runs came to is counted by the operator, which outlives pods; a worker tells what it is doing itself, attempts
that failed and are repeated included.
"""

from __future__ import annotations

from typing import Final

from tidemill_api.metrics import CHUNK, PIPELINE, POOL, REQUEST, Metric

_OURS: Final = (*POOL, *PIPELINE)

INFO: Final = Metric("tidemill_worker_info", "gauge", "1, with the worker's version.", (*POOL, "version"))
READY: Final = Metric("tidemill_worker_ready", "gauge", "1 if the worker polls for tasks, else 0.", POOL)

# Chunks and their rows, counted when an attempt has ended well; a repetition after a lost answer counts them again.
READ_ROWS: Final = Metric("tidemill_worker_read_rows_total", "counter", "Rows read from sources.", _OURS)
READ_BYTES: Final = Metric(
    "tidemill_worker_read_bytes_total", "counter", "Bytes read from sources.", _OURS, unit="bytes"
)
STEP_ROWS: Final = Metric(
    "tidemill_worker_step_rows_total",
    "counter",
    "Rows of a source, validate step or sink: passed, rejected, skipped.",
    (*_OURS, "step", "outcome"),
)
LOADED_ROWS: Final = Metric("tidemill_worker_loaded_rows_total", "counter", "Rows handed to a sink.", (*_OURS, "sink"))
REJECTED_ROWS: Final = Metric(
    "tidemill_worker_rejected_rows_total",
    "counter",
    "Dead letters written, by the rule that they broke. A row that breaks several rules counts for each.",
    (*_OURS, "step", "rule"),
)
CHUNKS: Final = Metric(
    "tidemill_worker_chunks_total", "counter", "Attempts at chunks that ended: done, failed.", (*_OURS, "outcome")
)
CHUNK_RETRIES: Final = Metric(
    "tidemill_worker_chunk_retries_total", "counter", "Attempts at chunks that weren't the first.", _OURS
)
CHUNK_DURATION: Final = Metric(
    "tidemill_worker_chunk_duration_seconds",
    "histogram",
    "Time of an attempt at a chunk.",
    POOL,
    CHUNK,
    unit="seconds",
    exemplar=True,
)
PHASE_SECONDS: Final = Metric(
    "tidemill_worker_phase_seconds_total",
    "counter",
    "Time of threads spent on chunks: read, check (validate steps), transform (queries, Python), load (encode, send, "
    "commit). They overlap, so their sum may be more than the time of the chunk.",
    (*_OURS, "phase"),
    unit="seconds",
)
CHUNKS_OPEN: Final = Metric("tidemill_worker_chunks_open", "gauge", "Chunks being worked on.", POOL)
SLOTS: Final = Metric("tidemill_worker_slots", "gauge", "Slots for activities: how many there are.", POOL)

# Runs.
RUNS: Final = Metric(
    "tidemill_worker_runs_total",
    "counter",
    "Runs whose end this worker recorded. For results take tidemill_pipeline_runs_total.",
    (*POOL, "result"),
)
CHECKS_FAILED: Final = Metric(
    "tidemill_worker_checks_failed_total",
    "counter",
    "Checks that didn't hold, of runs whose end this worker recorded.",
    (*_OURS, "severity"),
)
NOTIFICATIONS: Final = Metric(
    "tidemill_worker_notifications_total",
    "counter",
    "Attempts at notifications: sent, waiting for another attempt, unsent.",
    (*POOL, "state"),
)
LINEAGE: Final = Metric(
    "tidemill_worker_lineage_events_total",
    "counter",
    "Attempts at events of lineage: sent, waiting for another attempt, unsent.",
    (*POOL, "state"),
)

# What it uses.
CACHE_LOOKUPS: Final = Metric(
    "tidemill_worker_cache_lookups_total",
    "counter",
    "Lookups in the pool's cache: hit, miss (computed anew), error (without the cache, since it failed).",
    (*POOL, "outcome"),
)
CACHE_SAVED: Final = Metric(
    "tidemill_worker_cache_saved_seconds_total",
    "counter",
    "Time that computing what was found in the cache had taken.",
    POOL,
    unit="seconds",
)
CACHE_WAITED: Final = Metric(
    "tidemill_worker_cache_waited_seconds_total",
    "counter",
    "Time waited for another one who computed the same.",
    POOL,
    unit="seconds",
)
CACHE_WAITS: Final = Metric(
    "tidemill_worker_cache_waits_total", "counter", "Lookups that waited for another one who computed the same.", POOL
)
POSTGRES_CONNECTIONS: Final = Metric(
    "tidemill_worker_postgres_connections",
    "gauge",
    "Connections of the worker's pools to a database: open, used, most (as the pool's spec allows).",
    (*POOL, "connection", "state"),
)
POSTGRES_FAILURES: Final = Metric(
    "tidemill_worker_postgres_failures_total",
    "counter",
    "Attempts to get a connection to a database that failed.",
    (*POOL, "connection"),
)
POSTGRES_WAIT: Final = Metric(
    "tidemill_worker_postgres_wait_seconds",
    "histogram",
    "Time until a connection to a database was had, connecting included.",
    (*POOL, "connection"),
    REQUEST,
    unit="seconds",
)
HTTP_REQUESTS: Final = Metric(
    "tidemill_worker_http_requests_total",
    "counter",
    "Requests to web servers; code 0: no answer came.",
    (*POOL, "connection", "code"),
)
HTTP_DURATION: Final = Metric(
    "tidemill_worker_http_request_duration_seconds",
    "histogram",
    "Time until the head of an answer was there, or the request had failed.",
    (*POOL, "connection"),
    REQUEST,
    unit="seconds",
)
SECRET_UNUSABLE: Final = Metric(
    "tidemill_worker_secret_unusable",
    "gauge",
    "1 while a Secret holds what can't be used, and its former content stays in use.",
    (*POOL, "connection"),
)
FORGOTTEN: Final = Metric(
    "tidemill_worker_pipelines_forgotten_total",
    "counter",
    "Pipelines whose series were dropped, since there were too many or they were idle for a day.",
    POOL,
)

ALL: Final[tuple[Metric, ...]] = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""All of them, in the order of this file."""
