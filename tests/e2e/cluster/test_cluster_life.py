"""What becomes of edits, suspension and deletion, in pods."""

from __future__ import annotations

from tests.support.cluster import Place
from tests.support.small import applied, last_run, pipeline, pool
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
