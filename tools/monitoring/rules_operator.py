"""Alerts of the operator itself. While it doesn't work, Schedules and workers go on; edits and repairs don't."""

from __future__ import annotations

from typing import Final

from tools.monitoring.model import Group, Rule

_WHERE: Final = "namespace, job"

GROUP: Final = Group(
    "tidemill-operator",
    (
        Rule(
            "TidemillOperatorAbsent",
            "critical",
            "5m",
            "absent(tidemill_operator_info)",
            "Nobody tells the figures of a Tidemill operator",
            "Prometheus has scraped no operator for five minutes: it doesn't run, or it isn't scraped. The other "
            "alerts of pipelines and pools are blind meanwhile.",
        ),
        Rule(
            "TidemillOperatorLeaderless",
            "critical",
            "3m",
            f"sum by ({_WHERE}) (tidemill_operator_leader) == 0",
            "No operator leads (@operator)",
            "Operators run (@operator), but none of them holds the Lease: no edit is carried out and nothing is "
            "repaired.",
        ),
        Rule(
            "TidemillOperatorStuck",
            "critical",
            "5m",
            f"max by ({_WHERE}) (tidemill_operator_queue_oldest_seconds) > <queueAge>",
            "The operator doesn't get to its work (@operator)",
            "An object has been in the work queue of @operator for {{ $value | humanizeDuration }} without being "
            "worked on.",
        ),
        Rule(
            "TidemillPassesFail",
            "warning",
            "30m",
            f"max by ({_WHERE}, kind) (tidemill_operator_failing_objects) > 0",
            "The operator fails at objects of the kind {{ $labels.kind }} again and again",
            "Passes of @operator over {{ $value }} object(s) of the kind {{ $labels.kind }} have failed for half an "
            "hour. They are tried again, but what was edited isn't carried out.",
        ),
        Rule(
            "TidemillSweepStale",
            "critical",
            "5m",
            f"max by ({_WHERE}) (tidemill_operator_sweep_age_seconds) > <sweepAge>",
            "The operator no longer looks at Temporal (@operator)",
            "The last look of @operator at its Temporals ended {{ $value | humanizeDuration }} ago. Statuses, results "
            "of runs and scaling stand still.",
        ),
        Rule(
            "TidemillObjectsUnwatched",
            "warning",
            "15m",
            f"max by ({_WHERE}, kind) (tidemill_operator_objects_without_series) > 0",
            "{{ $value }} object(s) of the kind {{ $labels.kind }} have no figures",
            "There are more objects than @operator keeps series for. No alert can tell of the {{ $value }} newest of "
            "the kind {{ $labels.kind }}.",
        ),
    ),
)
