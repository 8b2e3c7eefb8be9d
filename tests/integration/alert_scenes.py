"""What alerts do over time, for promtool: figures a minute apart, and when which alert fires and when it doesn't.

Of every rule there are a scene in which it fires, not before its time, and comes to its end, and scenes of what may
look like trouble and is none: deploys, suspended pipelines, pools that sleep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PIPELINE: Final = {"pipeline_namespace": "travel", "pipeline": "flights"}
POOL: Final = {"pool_namespace": "travel", "pool": "etl"}
OWN: Final = {"connection_namespace": "", "connection": ""}
OPERATOR: Final = {"namespace": "tidemill-system", "job": "tidemill-metrics"}


@dataclass(frozen=True, slots=True)
class Scene:
    """One course of things. Times are minutes."""

    name: str
    alert: str
    series: Mapping[str, str]
    """Values of series, in promtool's notation."""
    quiet: tuple[int, ...] = ()
    """When the alert doesn't fire."""
    firing: Mapping[int, str] = field(default_factory=dict[int, str])
    """When it does, with what `$value` is in its texts then."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """Its labels, besides the severity."""

    @property
    def length(self) -> int:
        """The last minute that matters."""
        return max((*self.quiet, *self.firing))


def of(name: str, subject: Mapping[str, str], instance: str = "a", **labels: str) -> str:
    """A series as it is scraped: with the labels of the operator's pod, or of a worker's."""
    scraped = {**OPERATOR, "instance": instance, **subject, **labels}
    pairs = ", ".join(f'{key}="{value}"' for key, value in scraped.items())
    return f"{name}{{{pairs}}}"


def one(metric: str, **labels: str) -> str:
    """A series of the pipeline, scraped from the operator a."""
    return of(f"tidemill_pipeline_{metric}", PIPELINE, **labels)


def pool(metric: str, **labels: str) -> str:
    """A series of the pool, scraped from the operator a."""
    return of(f"tidemill_pool_{metric}", POOL, **labels)


def worker(metric: str, **labels: str) -> str:
    """A series of a worker of the pool."""
    return of(f"tidemill_worker_{metric}", POOL, **labels)


SUSPENDED: Final = {one("suspended"): "1x400"}
_FAILED: Final = one("last_run_result", result="Failed")
_STALLED: Final = {"type": "Stalled", "status": "True"}

RUNS: Final = (
    Scene(
        "a run fails, a later one succeeds",
        "TidemillRunFailing",
        {_FAILED: "_ _ _ 1x20 stale", one("last_run_result", result="Succeeded"): "1 1 1 stale _x20 1x20"},
        quiet=(2, 7, 24),
        firing={8: "", 23: ""},
        labels=PIPELINE,
    ),
    Scene(
        "another operator leads: the alert stays as it is",
        "TidemillRunFailing",
        {_FAILED: "1x9 stale", one("last_run_result", result="Failed", instance="b"): "_x8 1x20"},
        quiet=(4,),
        firing={5: "", 9: "", 10: "", 20: ""},
        labels=PIPELINE,
    ),
    Scene("it is suspended", "TidemillRunFailing", {_FAILED: "1x30", **SUSPENDED}, quiet=(10, 25)),
    Scene(
        "a run is cancelled", "TidemillRunFailing", {one("last_run_result", result="Cancelled"): "1x30"}, quiet=(10, 25)
    ),
    Scene(
        "Temporal misses a run",
        "TidemillRunMissed",
        {one("missed_runs_total"): "0x9 1x250"},
        quiet=(9, 200),
        firing={11: "1", 180: "1"},
        labels=PIPELINE,
    ),
    Scene(
        "runs are missed while no operator runs",
        "TidemillRunMissed",
        {one("missed_runs_total"): "0x10 stale", one("missed_runs_total", instance="b"): "_x130 3x60"},
        quiet=(10, 60),
        firing={132: "3"},
        labels=PIPELINE,
    ),
    Scene(
        "another operator leads, and takes the count over",
        "TidemillRunMissed",
        {one("missed_runs_total"): "5x10 stale", one("missed_runs_total", instance="b"): "_x8 5x60"},
        quiet=(9, 10, 12, 40),
    ),
    Scene("it is suspended", "TidemillRunMissed", {one("missed_runs_total"): "0x9 1x50", **SUSPENDED}, quiet=(20,)),
    Scene(
        "what is loaded gets too old, until a run succeeds",
        "TidemillFreshnessBroken",
        {one("freshness_age_seconds"): "6000+60x40 0+60x20", one("freshness_limit_seconds"): "7200x100"},
        quiet=(20, 21, 41),
        firing={22: "2h 2m 0s"},
        labels=PIPELINE,
    ),
    Scene("nothing is promised", "TidemillFreshnessBroken", {one("freshness_age_seconds"): "9000+60x40"}, quiet=(30,)),
    Scene(
        "it is suspended",
        "TidemillFreshnessBroken",
        {one("freshness_age_seconds"): "9000+60x40", one("freshness_limit_seconds"): "7200x100", **SUSPENDED},
        quiet=(30,),
    ),
    Scene(
        "a query is wrong until it is edited",
        "TidemillPipelineStalled",
        {one("condition", **_STALLED, reason="InvalidSQL"): "_ _ 1x30 stale"},
        quiet=(16, 33),
        firing={17: ""},
        labels={**PIPELINE, "reason": "InvalidSQL"},
    ),
    Scene(
        "it is suspended",
        "TidemillPipelineStalled",
        {one("condition", type="Ready", status="True", reason="Suspended"): "1x40", **SUSPENDED},
        quiet=(30,),
    ),
    Scene(
        "somebody changes a Schedule again and again",
        "TidemillScheduleDriftReturns",
        {one("drift_repaired_total"): "0x5 1 2 3 3x100"},
        quiet=(7, 75),
        firing={10: "3"},
        labels=PIPELINE,
    ),
    Scene(
        "somebody changed it once",
        "TidemillScheduleDriftReturns",
        {one("drift_repaired_total"): "0x5 1x60"},
        quiet=(9,),
    ),
)

DATA: Final = (
    Scene(
        "many rows are rejected in an hour",
        "TidemillDeadLettersGrow",
        {one("dead_letters"): "100x60 1200x80"},
        quiet=(60, 122),
        firing={61: "1100", 120: "1100"},
        labels=PIPELINE,
    ),
    Scene(
        "a pipeline that was just made rejects many rows",
        "TidemillDeadLettersGrow",
        {one("dead_letters"): "0x5 5000x80", one("created_timestamp_seconds"): "0x90"},
        quiet=(5, 70),
        firing={6: "5000"},
        labels=PIPELINE,
    ),
    Scene(
        "Prometheus has just begun to look",
        "TidemillDeadLettersGrow",
        {one("dead_letters"): "_x10 5000x80", one("created_timestamp_seconds"): "-9000x90"},
        quiet=(11, 60, 80),
    ),
    Scene(
        "another operator leads",
        "TidemillDeadLettersGrow",
        {one("dead_letters"): "2000x60 stale", one("dead_letters", instance="b"): "_x59 2000x30"},
        quiet=(60, 61, 80),
    ),
    Scene(
        "dead letters near their limit, and are looked after",
        "TidemillDeadLettersFull",
        {one("dead_letters"): "700x5 850x10 100x10", one("dead_letters_limit"): "1000x50"},
        quiet=(5, 17),
        firing={6: "85%"},
        labels=PIPELINE,
    ),
    Scene(
        "a run rejects nearly what is tolerated",
        "TidemillToleranceNear",
        {
            one("last_run_rows", outcome="rejected"): "5x5 9x10 2x10",
            one("last_run_rows", outcome="read"): "1000x50",
            one("tolerated_rejects_ratio"): "0.01x50",
        },
        quiet=(5, 17),
        firing={6: "90%"},
        labels=PIPELINE,
    ),
    Scene(
        "a run reads nothing",
        "TidemillToleranceNear",
        {
            one("last_run_rows", outcome="rejected"): "0x50",
            one("last_run_rows", outcome="read"): "0x50",
            one("tolerated_rejects_ratio"): "0.01x50",
        },
        quiet=(10,),
    ),
    Scene(
        "everything is tolerated",
        "TidemillToleranceNear",
        {one("last_run_rows", outcome="rejected"): "9x50", one("last_run_rows", outcome="read"): "10x50"},
        quiet=(10,),
    ),
)

_NOT_READY: Final = {"type": "Ready", "status": "False"}

POOLS: Final = (
    Scene(
        "no node takes the pods, until one is added",
        "TidemillPoolCannotScale",
        {pool("condition", **_NOT_READY, reason="Unschedulable"): "_ 1x30 stale"},
        quiet=(10, 33),
        firing={11: ""},
        labels={**POOL, "reason": "Unschedulable"},
    ),
    Scene(
        "a deploy: workers aren't ready yet",
        "TidemillPoolCannotScale",
        {pool("condition", **_NOT_READY, reason="WaitingForWorkers"): "1x30"},
        quiet=(15, 25),
    ),
    Scene(
        "work waits at the most workers",
        "TidemillPoolAtMaximum",
        {
            pool("backlog_age_seconds"): "0x5 400x30 0x10",
            pool("replicas", state="wished"): "10x60",
            pool("replicas", state="most"): "10x60",
        },
        quiet=(20, 37),
        firing={21: "6m 40s"},
        labels=POOL,
    ),
    Scene(
        "work waits, and workers are on their way",
        "TidemillPoolAtMaximum",
        {
            pool("backlog_age_seconds"): "400x30",
            pool("replicas", state="wished"): "5x60",
            pool("replicas", state="most"): "10x60",
        },
        quiet=(25,),
    ),
    Scene(
        "pods end again and again",
        "TidemillWorkersCrash",
        {pool("condition", **_NOT_READY, reason="WorkersFailing"): "_ 1x10 stale"},
        quiet=(5, 13),
        firing={6: ""},
        labels={**POOL, "reason": "WorkersFailing"},
    ),
    Scene(
        "a deploy: one pod crashed once",
        "TidemillWorkersCrash",
        {pool("condition", **_NOT_READY, reason="WorkersFailing"): "_ 1x3 stale"},
        quiet=(6, 10),
    ),
    Scene(
        "pods run, and none polls",
        "TidemillWorkersNeverPoll",
        {pool("replicas", state="there"): "0x3 2x40", pool("workers"): "0x30 2x20"},
        quiet=(18, 31),
        firing={19: "2"},
        labels=POOL,
    ),
    Scene(
        "a deploy, and a cold start",
        "TidemillWorkersNeverPoll",
        {pool("replicas", state="there"): "0x3 2x40", pool("workers"): "0x8 2x40"},
        quiet=(10, 30),
    ),
    Scene(
        "the pool sleeps",
        "TidemillWorkersNeverPoll",
        {pool("replicas", state="there"): "0x60", pool("workers"): "0x60"},
        quiet=(30, 50),
    ),
    Scene(
        "a pool needs an edit",
        "TidemillPoolStalled",
        {pool("condition", **_STALLED, reason="InvalidSpec"): "_ 1x30 stale"},
        quiet=(15, 33),
        firing={16: ""},
        labels={**POOL, "reason": "InvalidSpec"},
    ),
)
