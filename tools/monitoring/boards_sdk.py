"""The dashboard of Temporal's SDK in the workers: polls, slots, tasks, requests."""

from __future__ import annotations

from typing import Final

from tools.monitoring.choices import IN_POOL, POOL_NAMESPACE, QUIET, THE_POOL, quantile, rate
from tools.monitoring.panels import Dashboard, Panel, Query, Row

_POOLS: Final = "pool_namespace, pool"
_NAME: Final = "{{pool_namespace}}/{{pool}}"


def sdk(metric: str, more: str = "") -> str:
    """A series of the SDK in the workers of the chosen pools."""
    return f"temporal_{metric}{{{', '.join(filter(None, (IN_POOL, more)))}}}"


def _p95(metric: str, by: str) -> str:
    return quantile(0.95, f"temporal_{metric}", IN_POOL, by)


_WORKERS: Final = Row(
    "Workers",
    (
        Panel(
            "Pollers",
            "Calls that wait at Temporal for tasks, by what they ask for.",
            "short",
            (Query(f"sum by (poller_type) ({sdk('num_pollers')})", "{{poller_type}}"),),
        ),
        Panel(
            "Slots in use",
            "Tasks being worked on, by kind of worker.",
            "short",
            (Query(f"sum by (worker_type) ({sdk('worker_task_slots_used')})", "{{worker_type}}"),),
        ),
        Panel(
            "Free slots",
            "Room for further tasks. A worker without any polls no more.",
            "short",
            (Query(f"sum by (worker_type) ({sdk('worker_task_slots_available')})", "{{worker_type}}"),),
        ),
        Panel(
            "Workflows kept",
            "Workflows that workers keep in memory, so that they needn't be replayed.",
            "short",
            (Query(f"sum by ({_POOLS}) ({sdk('sticky_cache_size')})", _NAME),),
        ),
    ),
)
_TASKS: Final = Row(
    "Tasks",
    (
        Panel(
            "Wait of activities",
            "95th percentile from an activity's schedule to its start. It grows when there are too few slots.",
            "s",
            (Query(_p95("activity_schedule_to_start_latency_seconds", _POOLS), _NAME),),
            thresholds=((5, "orange"), (60, "red")),
        ),
        Panel(
            "Wait of workflow tasks",
            "95th percentile from a workflow task's schedule to its start.",
            "s",
            (Query(_p95("workflow_task_schedule_to_start_latency_seconds", _POOLS), _NAME),),
            thresholds=((1, "orange"), (10, "red")),
        ),
        Panel(
            "Time of activities",
            "95th percentile, by type of activity.",
            "s",
            (Query(_p95("activity_execution_latency_seconds", "activity_type"), "{{activity_type}}"),),
        ),
        Panel(
            "Time of workflow tasks",
            "95th percentile; more than a second or so holds other workflows up.",
            "s",
            (Query(_p95("workflow_task_execution_latency_seconds", "workflow_type"), "{{workflow_type}}"),),
            thresholds=((1, "red"),),
        ),
        Panel(
            "Activities that failed",
            "Attempts a second that failed; most are tried again.",
            "ops",
            (
                Query(
                    rate(sdk("activity_execution_failed_total"), "activity_type, failure_reason"),
                    "{{activity_type}} {{failure_reason}}",
                    empty=QUIET,
                ),
            ),
        ),
        Panel(
            "Workflow tasks that failed",
            "A second. These are faults of code, as a workflow that isn't deterministic.",
            "ops",
            (
                Query(
                    rate(sdk("workflow_task_execution_failed_total"), "workflow_type, failure_reason"),
                    "{{workflow_type}} {{failure_reason}}",
                    empty=QUIET,
                ),
            ),
            thresholds=((0.001, "red"),),
        ),
    ),
)
_REQUESTS: Final = Row(
    "Requests",
    (
        Panel(
            "Requests",
            "Requests of workers to Temporal a second, by operation, without those that wait for tasks.",
            "reqps",
            (Query(rate(sdk("request_total"), "operation"), "{{operation}}"),),
        ),
        Panel(
            "Time of requests",
            "95th percentile, by operation.",
            "s",
            (Query(_p95("request_latency_seconds", "operation"), "{{operation}}"),),
        ),
        Panel(
            "Requests that failed",
            "A second, by operation and gRPC status.",
            "reqps",
            (
                Query(
                    rate(sdk("request_failure_total"), "operation, status_code"),
                    "{{operation}} {{status_code}}",
                    empty=QUIET,
                ),
            ),
            width=24,
        ),
    ),
)
BOARD: Final = Dashboard(
    "tidemill-sdk",
    "Tidemill / Temporal SDK",
    "Temporal's SDK in the workers: polls, slots, tasks, requests.",
    (POOL_NAMESPACE, THE_POOL),
    (_WORKERS, _TASKS, _REQUESTS),
)
