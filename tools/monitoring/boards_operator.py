"""The dashboard of the operator: whether it leads, keeps up, and is answered."""

from __future__ import annotations

from typing import Final

from tools.monitoring.choices import QUIET, RELEASE, UNUSED, quantile, rate
from tools.monitoring.panels import Dashboard, Panel, Query, Row

_IN: Final = 'job=~"$release"'


def operator(metric: str, more: str = "") -> str:
    """A series of the chosen operators."""
    return f"tidemill_operator_{metric}{{{', '.join(filter(None, (_IN, more)))}}}"


_FAILED_LOOKS: Final = operator("sweeps_total", 'result="failed"')


def _stat(
    title: str, description: str, unit: str, query: Query, thresholds: tuple[tuple[float, str], ...] = ()
) -> Panel:
    return Panel(title, description, unit, (query,), "stat", thresholds, width=4, height=4)


_NOW: Final = Row(
    "Now",
    (
        Panel(
            "Leaders",
            "Operators that lead: one, whoever it is.",
            "short",
            (Query(f"sum({operator('leader')})"),),
            "stat",
            ((2, "red"),),
            width=4,
            height=4,
            words=(("0", "none", "red"),),
        ),
        _stat(
            "Version",
            "Operators by version.",
            "short",
            Query(f"count by (version) ({operator('info')})", "{{version}}"),
        ),
        _stat(
            "Age of the sweep",
            "Since the last look at all Temporals.",
            "s",
            Query(f"max({operator('sweep_age_seconds')})"),
            ((30, "orange"), (120, "red")),
        ),
        _stat(
            "Oldest work",
            "For how long the key that has been ready the longest has waited.",
            "s",
            Query(f"max({operator('queue_oldest_seconds')})"),
            ((60, "orange"), (300, "red")),
        ),
        _stat(
            "Failing objects",
            "Objects whose last pass failed, and is tried again.",
            "short",
            Query(f"sum({operator('failing_objects')}) or vector(0)"),
            ((1, "red"),),
        ),
        _stat(
            "Temporals that answer",
            "The part of the Temporals whose last look succeeded.",
            "percentunit",
            Query(f"avg(tidemill_temporal_reachable{{{_IN}}})"),
        ),
    ),
)
_PASSES: Final = Row(
    "Passes",
    (
        Panel(
            "Passes",
            "Passes over objects a second, by kind and what they came to.",
            "ops",
            (Query(rate(operator("reconciles_total"), "kind, result"), "{{kind}} {{result}}"),),
            stacked=True,
        ),
        Panel(
            "Time of a pass",
            "95th percentile, by kind.",
            "s",
            (Query(quantile(0.95, "tidemill_operator_reconcile_duration_seconds", _IN, "kind"), "{{kind}}"),),
        ),
        Panel(
            "Errors",
            "Passes that failed, by kind and error.",
            "short",
            (
                Query(
                    f"sum by (kind, reason) (increase({operator('reconcile_errors_total')}[$__rate_interval]))",
                    "{{kind}} {{reason}}",
                    empty=QUIET,
                ),
            ),
        ),
        Panel(
            "Queue",
            "Keys that are ready, being worked on, and waiting for their time.",
            "short",
            (Query(f"sum by (state) ({operator('queue_depth')})", "{{state}}"),),
            stacked=True,
        ),
        Panel(
            "Actions",
            "Actions carried out, by what came of them.",
            "short",
            (
                Query(
                    f"sum by (action, result) (increase({operator('actions_total')}[$__rate_interval]))",
                    "{{action}} {{result}}",
                ),
            ),
        ),
        Panel(
            "Drift repaired",
            "Changes made elsewhere that were put right.",
            "short",
            (
                Query(
                    f"sum by (of) (increase({operator('drift_repaired_total')}[$__rate_interval]))",
                    "{{of}}",
                    empty=QUIET,
                ),
            ),
        ),
    ),
)
_ASKED: Final = Row(
    "What it asks",
    (
        Panel(
            "Requests to the API server",
            "A second, by verb and status; 0 is no answer.",
            "reqps",
            (Query(rate(operator("kubernetes_requests_total"), "verb, code"), "{{verb}} {{code}}"),),
        ),
        Panel(
            "Requests to Temporal",
            "A second, by what came of them.",
            "reqps",
            (Query(rate(operator("temporal_requests_total"), "call, result"), "{{call}} {{result}}"),),
        ),
        Panel(
            "Time of requests to Temporal",
            "95th percentile, by call.",
            "s",
            (Query(quantile(0.95, "tidemill_operator_temporal_request_duration_seconds", _IN, "call"), "{{call}}"),),
        ),
        Panel(
            "Looks at Temporal",
            "Time of a look at a Temporal, and looks that failed.",
            "s",
            (
                Query(quantile(0.95, "tidemill_operator_sweep_duration_seconds", _IN), "95 %"),
                Query(
                    f"sum(increase({_FAILED_LOOKS}[$__rate_interval]))",
                    "failed",
                    empty=QUIET,
                ),
            ),
        ),
        Panel(
            "Events of watches",
            "Events a second, and changes that only a full list found.",
            "ops",
            (
                Query(rate(operator("watch_events_total"), "kind"), "{{kind}}"),
                Query(rate(operator("watch_missed_total"), "kind"), "missed {{kind}}", empty=QUIET),
            ),
        ),
        Panel(
            "Certificates",
            "For how long the client certificates for Temporals are good.",
            "s",
            (
                Query(
                    f"tidemill_temporal_certificate_expiry_timestamp_seconds{{{_IN}}} - time()",
                    "{{connection_namespace}}/{{connection}}",
                    empty=UNUSED,
                ),
            ),
        ),
    ),
)
_PROCESS: Final = Row(
    "Process",
    (
        Panel(
            "Memory",
            "Resident memory of each operator.",
            "bytes",
            (Query(f"process_resident_memory_bytes and on (instance, job) {operator('leader')}", "{{instance}}"),),
        ),
        Panel(
            "CPU",
            "Processors in use by each operator.",
            "short",
            (
                Query(
                    f"rate(process_cpu_seconds_total[$__rate_interval]) and on (instance, job) {operator('leader')}",
                    "{{instance}}",
                ),
            ),
        ),
        Panel(
            "Objects",
            "Known objects, by kind, and those without series of their own.",
            "short",
            (
                Query(f"max by (kind) ({operator('objects')})", "{{kind}}"),
                Query(f"max by (kind) ({operator('objects_without_series')})", "without series {{kind}}"),
            ),
            width=24,
        ),
    ),
)
BOARD: Final = Dashboard(
    "tidemill-operator",
    "Tidemill / Operator",
    "Whether the operator leads, keeps up, and is answered.",
    (RELEASE,),
    (_NOW, _PASSES, _ASKED, _PROCESS),
)
