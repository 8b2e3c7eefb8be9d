"""Scenes of alerts (see alert_scenes.py): the operator, what all depend on, and objectives."""

from __future__ import annotations

from typing import Final

from tests.integration.alert_scenes import OPERATOR, OWN, PIPELINE, POOL, Scene, of, one, worker


def operator(metric: str, **labels: str) -> str:
    """A series of the process of an operator."""
    return of(f"tidemill_operator_{metric}", {}, **labels)


def temporal(metric: str) -> str:
    """A series of the operator's own Temporal."""
    return of(f"tidemill_temporal_{metric}", OWN)


OPERATORS: Final = (
    Scene(
        "no operator is scraped, until one is",
        "TidemillOperatorAbsent",
        {operator("info"): "_x10 1x10"},
        quiet=(4, 10),
        firing={5: ""},
    ),
    Scene(
        "a deploy: one goes and another comes",
        "TidemillOperatorAbsent",
        {operator("info"): "1x3 stale", operator("info", instance="b"): "_x3 1x20"},
        quiet=(4, 10),
    ),
    Scene(
        "the leader loses its Lease, and nobody takes it",
        "TidemillOperatorLeaderless",
        {operator("leader"): "1x5 0x20", operator("leader", instance="b"): "0x10 1x10"},
        quiet=(8, 11),
        firing={9: "", 10: ""},
        labels=OPERATOR,
    ),
    Scene(
        "a deploy: the other one takes over",
        "TidemillOperatorLeaderless",
        {operator("leader"): "1x5 0x20", operator("leader", instance="b"): "0x6 1x20"},
        quiet=(6, 7, 12),
    ),
    Scene(
        "work isn't taken up",
        "TidemillOperatorStuck",
        {operator("queue_oldest_seconds"): "0x3 310+60x10 0x9"},
        quiet=(8, 15),
        firing={9: "10m 10s"},
        labels=OPERATOR,
    ),
    Scene(
        "much is to be done after a restart",
        "TidemillOperatorStuck",
        {operator("queue_oldest_seconds"): "310 370 200 0x9"},
        quiet=(1, 6),
    ),
    Scene(
        "an object's passes fail",
        "TidemillPassesFail",
        {operator("failing_objects", kind="WorkerPool"): "0x3 1x40 0x9"},
        quiet=(33, 45),
        firing={34: "1"},
        labels={**OPERATOR, "kind": "WorkerPool"},
    ),
    Scene(
        "the API server was away for ten minutes",
        "TidemillPassesFail",
        {operator("failing_objects", kind="WorkerPool"): "0x3 4x10 0x60"},
        quiet=(10, 35, 40),
    ),
    Scene(
        "the sweep stands still",
        "TidemillSweepStale",
        {operator("sweep_age_seconds"): "3x3 130+60x10 2x9"},
        quiet=(8, 15),
        firing={9: "7m 10s"},
        labels=OPERATOR,
    ),
    Scene(
        "a deploy: the other one looks after a while",
        "TidemillSweepStale",
        {operator("sweep_age_seconds"): "3x3 stale", operator("sweep_age_seconds", instance="b"): "_x5 3x20"},
        quiet=(4, 10),
    ),
    Scene(
        "more objects than series are kept for",
        "TidemillObjectsUnwatched",
        {operator("objects_without_series", kind="DataPipeline"): "0x3 12x30 0x9"},
        quiet=(18, 35),
        firing={19: "12"},
        labels={**OPERATOR, "kind": "DataPipeline"},
    ),
)

_USED: Final = worker("postgres_connections", connection="warehouse", state="used")
_MOST: Final = worker("postgres_connections", connection="warehouse", state="most")
_WAITED: Final = {
    worker("postgres_wait_seconds_bucket", connection="warehouse", le="1.0"): "0+1x60",
    worker("postgres_wait_seconds_bucket", connection="warehouse", le="2.5"): "0+100x60",
    worker("postgres_wait_seconds_bucket", connection="warehouse", le="+Inf"): "0+100x60",
}
_DATABASE: Final = {**POOL, "connection": "warehouse"}

DEPENDENCIES: Final = (
    Scene(
        "the operator's Temporal is away",
        "TidemillTemporalUnreachable",
        {temporal("reachable"): "1x3 0x10 1x9"},
        quiet=(8, 15),
        firing={9: ""},
        labels={},
    ),
    Scene(
        "a namespace's own Temporal is away",
        "TidemillTemporalUnreachable",
        {of("tidemill_temporal_reachable", {"connection_namespace": "travel", "connection": "cloud"}): "1x3 0x10"},
        quiet=(8,),
        firing={9: ""},
        labels={"connection_namespace": "travel", "connection": "cloud"},
    ),
    Scene(
        "Temporal is upgraded: away for three minutes",
        "TidemillTemporalUnreachable",
        {temporal("reachable"): "1x3 0x2 1x20"},
        quiet=(5, 10),
    ),
    Scene(
        "a database is away",
        "TidemillPostgresUnreachable",
        {worker("postgres_failures_total", connection="warehouse"): "0x3 1+1x10 11x20"},
        quiet=(8, 18),
        firing={9: ""},
        labels=_DATABASE,
    ),
    Scene(
        "a database restarts: a connection failed once",
        "TidemillPostgresUnreachable",
        {worker("postgres_failures_total", connection="warehouse"): "0x3 2x30"},
        quiet=(5, 7, 9, 12),
    ),
    Scene(
        "Redis is away",
        "TidemillCacheUnreachable",
        {worker("cache_lookups_total", outcome="error"): "0x3 1+1x20 21x30"},
        quiet=(13, 30),
        firing={14: ""},
        labels=POOL,
    ),
    Scene(
        "all connections are used, and workers wait",
        "TidemillConnectionsExhausted",
        {_USED: "20x30 3x20", _MOST: "20x60", **_WAITED},
        quiet=(10, 32),
        firing={12: ""},
        labels=_DATABASE,
    ),
    Scene(
        "all connections are used, and nobody waits",
        "TidemillConnectionsExhausted",
        {_USED: "20x60", _MOST: "20x60"},
        quiet=(30,),
    ),
    Scene(
        "a Secret is changed to what can't be used",
        "TidemillSecretUnusable",
        {worker("secret_unusable", connection="warehouse"): "0x3 1x10 0x9"},
        quiet=(8, 15),
        firing={9: ""},
        labels=_DATABASE,
    ),
    Scene(
        "a certificate is renewed when its last fortnight begins",
        "TidemillCertificateExpires",
        # A fortnight is left after 80 minutes.
        {temporal("certificate_expiry_timestamp_seconds"): "1214400x119 9999999x60"},
        quiet=(80, 119, 145),
    ),
    Scene(
        "a certificate ends tomorrow",
        "TidemillCertificateExpires",
        {temporal("certificate_expiry_timestamp_seconds"): "86400x90 9999999x60"},
        quiet=(59, 92),
        firing={60: "23h 0m 0s"},
        labels={},
    ),
    Scene(
        "a rotation of keys doesn't come to its end",
        "TidemillKeyRotationUnfinished",
        {
            operator("schedules_sealed", key="k1"): "40x3 2x400 0x9",
            operator("schedules_sealed", key="k2"): "0x3 38x500",
        },
        quiet=(362, 406),
        firing={364: "2"},
        labels=OPERATOR,
    ),
    Scene(
        "a rotation",
        "TidemillKeyRotationUnfinished",
        {
            operator("schedules_sealed", key="k1"): "40x3 2x60 0x500",
            operator("schedules_sealed", key="k2"): "0x3 38x500",
        },
        quiet=(30, 400, 500),
    ),
)


def _ended(result: str) -> str:
    return one("runs_total", result=result)


_MADE: Final = {one("created_timestamp_seconds"): "0x5000"}
_TRUE, _FALSE = (
    one("condition", type="Fresh", status=status, reason=reason)
    for status, reason in (("True", "Fresh"), ("False", "Stale"))
)

OBJECTIVES: Final = (
    Scene(
        "runs of every minute fail for twenty minutes",
        "TidemillSuccessBudgetBurnsFast",
        {_ended("Succeeded"): "0+1x100 100x20 101+1x180", _ended("Failed"): "0x100 1+1x19 20x200", **_MADE},
        quiet=(100, 105, 155),
        firing={115: "25%"},
        labels=PIPELINE,
    ),
    Scene(
        "another operator leads, and takes the counts over",
        "TidemillSuccessBudgetBurnsFast",
        {
            _ended("Succeeded"): "500+1x30 stale",
            one("runs_total", result="Succeeded", instance="b"): "_x30 530+1x100",
            _ended("Failed"): "500x30 stale",
            one("runs_total", result="Failed", instance="b"): "_x30 500x100",
        },
        quiet=(30, 31, 33, 40, 60),
    ),
    Scene(
        "one of few runs fails",
        "TidemillSuccessBudgetBurnsFast",
        {_ended("Succeeded"): "0x20 1x20 2x300", _ended("Failed"): "0x60 1x240", **_MADE},
        quiet=(61, 63, 66, 80),
    ),
    Scene(
        "it is suspended",
        "TidemillSuccessBudgetBurnsFast",
        {_ended("Succeeded"): "0x300", _ended("Failed"): "0+1x300", **_MADE, one("suspended"): "1x300"},
        quiet=(40,),
    ),
    Scene(
        "one of twenty runs fails, for hours",
        "TidemillSuccessBudgetBurnsSlowly",
        {_ended("Succeeded"): "0+0.95x600", _ended("Failed"): "0+0.05x200 10x400", **_MADE},
        quiet=(20, 580),
        firing={180: "5%"},
        labels=PIPELINE,
    ),
    Scene(
        "what is loaded is too old for a quarter of an hour",
        "TidemillFreshnessBudgetBurnsFast",
        {_TRUE: "1x100 stale _x15 1x100", _FALSE: "_x101 1x14 stale"},
        quiet=(100, 108, 150),
        firing={113: "21.31%"},
        labels=PIPELINE,
    ),
    Scene(
        "it is suspended",
        "TidemillFreshnessBudgetBurnsFast",
        {_FALSE: "1x200", one("suspended"): "1x300"},
        quiet=(40,),
    ),
    Scene(
        "what is loaded is too old for twenty minutes of eight hours",
        "TidemillFreshnessBudgetBurnsSlowly",
        {_TRUE: "1x480 stale _x19 1x800", _FALSE: "_x481 1x19 stale"},
        quiet=(480, 495, 870),
        firing={520: "3.839%"},
        labels=PIPELINE,
    ),
)
