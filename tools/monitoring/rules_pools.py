"""Alerts of pools and their workers."""

from __future__ import annotations

from typing import Final

from tools.monitoring.model import Group, Rule
from tools.monitoring.promql import POOL, of_pools


def _replicas(state: str) -> str:
    return of_pools(f'tidemill_pool_replicas{{state="{state}"}}')


def _not_ready(reasons: str) -> str:
    return (
        f'max by ({POOL}, reason) (tidemill_pool_condition{{type="Ready", status="False", reason=~"{reasons}"}}) == 1'
    )


GROUP: Final = Group(
    "tidemill-pools",
    (
        Rule(
            "TidemillPoolCannotScale",
            "critical",
            "10m",
            _not_ready("Unschedulable|PodsRefused|ImageUnavailable"),
            "The pool @pool can't have its workers: {{ $labels.reason }}",
            "Workers of @pool can't be started ({{ $labels.reason }}). Runs of its pipelines wait, or go slower.",
        ),
        Rule(
            "TidemillPoolAtMaximum",
            "warning",
            "15m",
            f"{of_pools('tidemill_pool_backlog_age_seconds')} > <backlogAge>\n"
            f"and on ({POOL}) {_replicas('wished')} >= on ({POOL}) {_replicas('most')}",
            "The pool @pool has as many workers as it may, and work still waits",
            "@pool has reached `scaling.maxReplicas`, and its oldest task has waited for "
            "{{ $value | humanizeDuration }}.",
        ),
        Rule(
            "TidemillWorkersCrash",
            "critical",
            "5m",
            _not_ready("WorkersFailing"),
            "Workers of the pool @pool crash",
            "Pods of @pool can't start, or end again and again. The message of its condition Ready has their last "
            "words.",
        ),
        Rule(
            "TidemillWorkersNeverPoll",
            "critical",
            "15m",
            f"{_replicas('there')} > 0\nand on ({POOL}) {of_pools('tidemill_pool_workers')} == 0",
            "The pool @pool has pods, but none asks Temporal for work",
            "@pool has {{ $value }} pod(s), and Temporal hears of no worker on its task queue. Runs of its "
            "pipelines stand still.",
        ),
        Rule(
            "TidemillPoolStalled",
            "warning",
            "15m",
            f'max by ({POOL}, reason) (tidemill_pool_condition{{type="Stalled", status="True"}}) == 1',
            "The pool @pool needs an edit: {{ $labels.reason }}",
            "The operator can't bring @pool to what its spec says ({{ $labels.reason }}), and nothing but an edit "
            "helps.",
        ),
    ),
)
