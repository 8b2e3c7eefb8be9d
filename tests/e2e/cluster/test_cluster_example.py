"""The example as it stands, on a real cluster: applied, run by its schedule, in a pod, to the right rows."""

from __future__ import annotations

from tests.support.cluster import Place, example

READ, LOADED, REJECTED = 336_776, 335_596, 1_180


def test_a_scheduled_run_loads_the_right_rows(place: Place) -> None:
    pipeline = example("pipeline")
    # Its own schedule is once a day; one that is due at any second says the same.
    pipeline["spec"]["schedule"] = {"intervals": [{"every": "5s"}]}
    place.apply(example("pool"), pipeline)
    place.cluster.ready(place.namespace, "workerpool/etl", "datapipeline/flights")
    place.cluster.kubectl(
        *("wait", "-n", place.namespace, "dpl/flights", "--timeout=180s"),
        "--for=jsonpath={.status.lastRun.result}=Succeeded",
        timeout=200,
    )
    run = place.status("datapipeline", "flights")["lastRun"]
    assert run["workflowId"].endswith(f"/{place.namespace}/flights/scheduled-{run['key']}")
    assert (run["rowsRead"], run["rowsLoaded"], run["rowsRejected"]) == (READ, LOADED, REJECTED)
    assert place.count("flights") == LOADED
    letters = (
        "SELECT rules, count(DISTINCT line) FROM tidemill.dead_letters WHERE line IS NOT NULL GROUP BY rules ORDER BY 2"
    )
    assert place.query(letters) == [["{plausible-speed}", "5"], ["{landed}", "1175"]]
    first = "SELECT airline, count(*) FROM flights GROUP BY airline ORDER BY 2 DESC LIMIT 1"
    assert place.query(first) == [["United Air Lines Inc.", "58468"]]
