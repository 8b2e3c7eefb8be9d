"""The dashboard of one pool, or a few: workers, backlog, and what they use."""

from __future__ import annotations

from typing import Final

from tools.monitoring.choices import IN_POOL, POOL_NAMESPACE, QUIET, THE_POOL, UNUSED, pool, quantile, rate
from tools.monitoring.panels import Dashboard, Panel, Query, Row

_NAME: Final = "{{pool_namespace}}/{{pool}}"


def worker(metric: str, more: str = "") -> str:
    """A series of the workers of the chosen pools."""
    return f"tidemill_worker_{metric}{{{', '.join(filter(None, (IN_POOL, more)))}}}"


_SCALE: Final = Row(
    "Scale",
    (
        Panel(
            "Workers",
            "Workers wished, there and ready, and the bounds of scaling.",
            "short",
            (Query(pool("replicas", by="state"), "{{state}} " + _NAME),),
        ),
        Panel(
            "Workers that poll",
            "Workers that Temporal hears of; with pods there and none here, runs stand still.",
            "short",
            (Query(pool("workers"), _NAME),),
        ),
        Panel(
            "Backlog",
            "Tasks that wait for a worker.",
            "short",
            (Query(pool("backlog_tasks"), _NAME),),
        ),
        Panel(
            "Age of the backlog",
            "For how long the oldest of these tasks has waited.",
            "s",
            (Query(pool("backlog_age_seconds"), _NAME),),
            thresholds=((60, "orange"), (300, "red")),
        ),
        Panel(
            "Slots",
            "Slots for activities, busy and free.",
            "short",
            (Query(pool("slots", by="state"), "{{state}} " + _NAME),),
            stacked=True,
        ),
        Panel(
            "Scaling decisions",
            "Decisions that changed the number of workers, by their reason.",
            "short",
            (
                Query(
                    f"sum by (direction, reason) "
                    f"(increase(tidemill_pool_scaling_decisions_total{{{IN_POOL}}}[$__rate_interval]))",
                    "{{direction}} {{reason}}",
                    empty=QUIET,
                ),
            ),
        ),
    ),
)
_WORK: Final = Row(
    "Work",
    (
        Panel(
            "Chunks being worked on",
            "Over all workers, and how many there could be.",
            "short",
            (
                Query(f"sum by (pool_namespace, pool) ({worker('chunks_open')})", "open " + _NAME),
                Query(f"sum by (pool_namespace, pool) ({worker('slots')})", "slots " + _NAME),
            ),
        ),
        Panel(
            "Time of a chunk",
            "Of attempts that ended.",
            "s",
            (
                Query(
                    quantile(0.5, "tidemill_worker_chunk_duration_seconds", IN_POOL, "pool_namespace, pool"),
                    "half of them " + _NAME,
                ),
                Query(
                    quantile(0.95, "tidemill_worker_chunk_duration_seconds", IN_POOL, "pool_namespace, pool"),
                    "95 % " + _NAME,
                ),
            ),
        ),
        Panel(
            "Chunks",
            "Attempts that ended, a second.",
            "ops",
            (Query(rate(worker("chunks_total"), "outcome"), "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Memory of workers",
            "Resident memory of each worker's process.",
            "bytes",
            (Query(f"process_resident_memory_bytes and on (instance, job) {worker('ready')}", "{{instance}}"),),
        ),
    ),
)
_NEEDS: Final = Row(
    "What workers use",
    (
        Panel(
            "Connections to databases",
            "Open, in use, and the most that are allowed, over all workers.",
            "short",
            (
                Query(
                    f"sum by (pool, connection, state) ({worker('postgres_connections')})",
                    "{{state}} {{pool}}/{{connection}}",
                ),
            ),
        ),
        Panel(
            "Wait for a connection",
            "95th percentile of the time until a connection to a database was had.",
            "s",
            (
                Query(
                    quantile(0.95, "tidemill_worker_postgres_wait_seconds", IN_POOL, "pool, connection"),
                    "{{pool}}/{{connection}}",
                ),
            ),
            thresholds=((1, "red"),),
        ),
        Panel(
            "Connections that failed",
            "Attempts to get a connection to a database that failed.",
            "short",
            (
                Query(
                    f"sum by (pool, connection) (increase({worker('postgres_failures_total')}[$__rate_interval]))",
                    "{{pool}}/{{connection}}",
                ),
            ),
        ),
        Panel(
            "Cache",
            "Lookups a second in the pool's cache, by what came of them.",
            "ops",
            (Query(rate(worker("cache_lookups_total"), "pool, outcome"), "{{outcome}} {{pool}}", empty=UNUSED),),
            stacked=True,
        ),
        Panel(
            "HTTP requests",
            "Requests a second, by status; 0 is no answer.",
            "reqps",
            (Query(rate(worker("http_requests_total"), "connection, code"), "{{connection}} {{code}}", empty=UNUSED),),
        ),
        Panel(
            "Time of HTTP requests",
            "95th percentile of the time until the head of an answer was there.",
            "s",
            (
                Query(
                    quantile(0.95, "tidemill_worker_http_request_duration_seconds", IN_POOL, "connection"),
                    "{{connection}}",
                    empty=UNUSED,
                ),
            ),
        ),
    ),
)
BOARD: Final = Dashboard(
    "tidemill-pool",
    "Tidemill / Pool",
    "One pool, or a few: workers, backlog, and what they use.",
    (POOL_NAMESPACE, THE_POOL),
    (_SCALE, _WORK, _NEEDS),
)
