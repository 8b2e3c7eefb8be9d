"""A pool whose workers follow its work, in pods: none while it sleeps, one before its minute, more in a burst."""

from __future__ import annotations

from tests.support.cluster import Object, Place
from tests.support.small import landing, last_run, pipeline, pool, run
from tests.support.waiting import until

SCALING = {"minReplicas": 0, "maxReplicas": 3, "idleTimeout": "5s", "stabilization": "5s", "prewarm": "5s"}
BURST = 8


def scaling(place: Place) -> Object:
    found: Object = place.status("workerpool", "etl").get("scaling", {})
    return found


def asleep(place: Place) -> bool:
    return place.status("workerpool", "etl").get("replicas") == 0 and not place.workers()


def test_a_pool_sleeps_is_warm_at_its_minute_and_takes_a_burst(place: Place) -> None:
    place.apply(landing(), pool(scaling=SCALING, concurrency={"activities": 1}), pipeline(every="30s"))
    first = last_run(place, "rows", timeout=200)
    assert first["result"] == "Succeeded"
    until(lambda: asleep(place), "the pool sleeps when its run has ended", 60)

    second = last_run(place, "rows", after=first["startedAt"], timeout=200)
    assert second["result"] == "Succeeded"
    warmed = next(each for each in scaling(place)["lastDecisions"] if each["reason"] == "ScheduledStart")
    assert (warmed["from"], warmed["to"]) == (0, 1)
    assert warmed["time"] < second["key"], "its worker was asked for before the minute"

    # Several workers share a run, so what it reads is the same for all: no ConfigMap, which each pod has for itself.
    place.query("CREATE TABLE seed AS SELECT n AS id, 'row ' || n AS name FROM generate_series(1, 50) n")
    seed = [{"name": "raw", "connection": "warehouse", "postgres": {"table": "public.seed"}}]
    rarely = {"intervals": [{"every": "24h"}], "overlapPolicy": "AllowAll"}
    place.apply(pipeline("burst", every=None, schedule=rarely, sources=seed))
    place.cluster.ready(place.namespace, "datapipeline/rows")
    until(lambda: asleep(place), "the pool sleeps while nothing is due", 60)
    place.apply(*(run(f"by-hand-{number}", "rows") for number in range(BURST)))
    until(
        lambda: (
            [each["status"].get("phase") for each in place.cluster.items(place.namespace, "datapipelineruns")]
            == ["Succeeded"] * BURST
        ),
        "all runs of the burst have succeeded",
        180,
    )
    until(lambda: asleep(place), "the pool sleeps again", 60)
    assert max(each["to"] for each in scaling(place)["lastDecisions"]) <= SCALING["maxReplicas"]
    assert place.count("burst") == 50
