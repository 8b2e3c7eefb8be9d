"""What becomes of edits, suspension and deletion, in pods."""

from __future__ import annotations

from functools import partial

from tests.support.cluster import Object, Place
from tests.support.small import applied, landing, last_run, pipeline, pool
from tests.support.waiting import until


def test_an_edit_is_what_the_next_run_does(place: Place) -> None:
    applied(place, pipeline("before"))
    assert last_run(place, "rows")["rowsLoaded"] == 3
    place.apply(pipeline("after"))
    until(lambda: place.count("after") == 3, "the edited pipeline has loaded its table", 60)
    generation = place.get("datapipeline", "rows")["metadata"]["generation"]
    assert place.status("datapipeline", "rows")["observedGeneration"] == generation
    assert place.count("before") == 3


def test_a_suspended_pipeline_runs_no_more_until_it_is_resumed(place: Place) -> None:
    applied(place, pipeline())
    last_run(place, "rows")
    place.apply(pipeline(suspend=True))
    until(lambda: place.condition("datapipeline", "rows").get("reason") == "Suspended", "it is Suspended", 30)
    until(lambda: not place.status("datapipeline", "rows").get("activeRuns"), "no run is open", 60)
    assert place.condition("datapipeline", "rows")["status"] == "True"
    assert not place.status("datapipeline", "rows").get("nextRuns")
    before = place.status("datapipeline", "rows")["lastRun"]
    place.apply(pipeline(suspend=False))
    assert last_run(place, "rows", after=before["startedAt"])["key"] > before["key"]


def test_deleting_leaves_no_schedule_and_no_pod_but_the_rows(place: Place) -> None:
    applied(place, pipeline())
    last_run(place, "rows")
    assert len(place.schedules()) == 1
    place.cluster.kubectl("delete", "-n", place.namespace, "datapipeline/rows", "workerpool/etl", "--timeout=90s")
    assert place.schedules() == []
    until(lambda: not place.cluster.items(place.namespace, "pods,deployments,configmaps", "-l", "tidemill.dev/pool"),
          "what the pool had made is gone", 90)  # fmt: skip
    assert place.count("rows") == 3


def test_an_image_that_cannot_be_pulled_is_told_by_pool_and_pipeline(place: Place) -> None:
    applied(place, pipeline())
    last_run(place, "rows")
    place.apply(pool(image="localhost/nobody/nothing:1"))
    seen = until(
        lambda: found if "nothing:1" in (found := place.condition("workerpool", "etl").get("message", "")) else "",
        "the pool says which image",
        60,
    )
    assert "ImagePullBackOff" in seen or "ErrImagePull" in seen
    # The old worker goes on until a new one is there.
    latest = place.status("datapipeline", "rows")["lastRun"]["startedAt"]
    assert last_run(place, "rows", after=latest)["result"] == "Succeeded"
    place.apply(pool())
    place.cluster.ready(place.namespace, "workerpool/etl")


def test_a_changed_secret_is_taken_up_without_a_restart(place: Place) -> None:
    """A password that changes in the database and in the Secret; the connections of the old one are ended."""
    role = place.database
    place.query(f"CREATE ROLE {role} LOGIN PASSWORD 'first'")
    place.query(f"ALTER DATABASE {place.database} OWNER TO {role}")
    place.apply(warehouse(place, role, "first"))
    applied(place, pipeline())
    last_run(place, "rows")
    (worker,) = place.workers()
    place.query(f"ALTER ROLE {role} PASSWORD 'second'")
    place.apply(warehouse(place, role, "second"))
    place.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")
    [[changed]] = place.query("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
    assert last_run(place, "rows", after=changed, timeout=240)["result"] == "Succeeded"
    assert place.workers() == [worker]
    (status,) = place.get("pod", worker)["status"]["containerStatuses"]
    assert status["restartCount"] == 0


def test_a_missing_secret_is_told_by_pool_and_pipeline_until_it_is_there(place: Place) -> None:
    secret = place.get("secret", "warehouse")
    place.cluster.kubectl("delete", "secret", "warehouse", "-n", place.namespace)
    place.apply(landing(), pool(), pipeline())
    for kind, name in (("workerpool", "etl"), ("datapipeline", "rows")):
        until(partial(waits_for_warehouse, place, kind, name), f"{kind} {name} says which Secret it waits for", 90)
    place.apply({key: secret[key] for key in ("apiVersion", "kind", "data")} | {"metadata": {"name": "warehouse"}})
    assert last_run(place, "rows", timeout=180)["rowsLoaded"] == 3


def test_a_quota_that_is_used_up_is_told_in_the_api_servers_words(place: Place) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    place.apply(quota)
    until(lambda: place.status("resourcequota", "none").get("hard"), "the quota holds", 30)
    place.apply(landing(), pool(), pipeline())
    told = until(
        lambda: found if (found := place.condition("workerpool", "etl")).get("reason") == "PodsRefused" else {},
        "the pool says that its pods are refused",
        60,
    )
    assert "exceeded quota: none" in told["message"]
    place.cluster.kubectl("delete", "resourcequota", "none", "-n", place.namespace)
    assert last_run(place, "rows", timeout=180)["rowsLoaded"] == 3


def test_a_namespace_is_deleted_as_a_whole(place: Place) -> None:
    applied(place, pipeline())
    last_run(place, "rows")
    assert len(place.schedules()) == 1
    place.cluster.kubectl("delete", "namespace", place.namespace, "--timeout=180s", timeout=200)
    assert place.schedules() == []


def waits_for_warehouse(place: Place, kind: str, name: str) -> bool:
    """Whether that is what the object says."""
    told = place.condition(kind, name)
    return told.get("reason") == "WaitingForSecret" and "warehouse" in told["message"]


def warehouse(place: Place, role: str, password: str) -> Object:
    """The pool's Secret, for a role of its own."""
    at = place.release.dsn.rpartition("@")[2].rpartition("/")[0]
    dsn = f"postgresql://{role}:{password}@{at}/{place.database}"
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse"}, "stringData": {"dsn": dsn}}
