"""Pods, containers and sandboxes that end in the middle of a load: the rows are those of one clean load."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.cluster import Place, example
from tests.support.small import applied, last_run, pipeline, run
from tests.support.waiting import until

LOADED = 335_596


UNPACK = """
import os, zipfile
os.chdir("/shared/flights")
zipfile.ZipFile("flights.csv.zip").extractall()
for file in os.listdir():
    os.utime(file, (0, 0))
"""


def loading(place: Place) -> None:
    """Begin one run that appends all flights in some thirty chunks, and wait until it is in the middle."""
    pool = example("pool")
    first = pool["spec"]["template"]["spec"]["initContainers"][0]
    # What is packed is one chunk; and every pod must have the same files, down to their times.
    unpacking = {"name": "unpack", "image": "localhost/tidemill/worker:dev", "command": ["python", "-c", UNPACK]}
    pool["spec"]["template"]["spec"]["initContainers"].append({**first, **unpacking, "args": []})
    flights = example("pipeline")
    del flights["spec"]["schedule"]
    flights["spec"]["sources"][0]["files"]["path"] = "flights.csv"
    sink = flights["spec"]["sinks"][0]
    del sink["primaryKey"]
    sink["writeDisposition"] = "Append"
    flights["spec"]["execution"].update(chunk={"maxBytes": "1Mi"}, parallelism=1)
    place.apply(pool, flights)
    place.cluster.ready(place.namespace, "workerpool/etl", "datapipeline/flights")
    place.apply(run("once", "flights"))
    until(lambda: place.count("flights") > 0, "the first rows are there", 120)


def loaded(place: Place) -> None:
    """The run ends, and each row is there once."""
    place.cluster.ready(place.namespace, "datapipelinerun/once", timeout=240)
    summary = place.status("datapipelinerun", "once")["run"]
    assert (summary["result"], summary["rowsLoaded"], summary["rowsRejected"]) == ("Succeeded", LOADED, 1_180)
    assert place.count("flights") == LOADED
    assert place.query("SELECT count(DISTINCT line) FROM tidemill.dead_letters") == [["1180"]]


def in_the_middle(place: Place) -> int:
    there = place.count("flights")
    assert 0 < there < LOADED, f"the load should be in the middle, {there} rows are there"
    return there


def kill_worker(place: Place) -> None:
    place.kill(place.workers()[0])


def restart_postgres(place: Place) -> None:
    place.release.restart("postgres")


def restart_temporal(place: Place) -> None:
    place.release.restart("temporal")


def lose_sandbox(place: Place) -> None:
    pod = place.workers()[0]
    machine = place.get("pod", pod)["spec"]["nodeName"]
    place.cluster.chosen.kill_sandbox(place.namespace, pod, machine)


@pytest.mark.parametrize(
    "interrupt",
    [
        kill_worker,
        restart_postgres,
        restart_temporal,
        lose_sandbox,
    ],
)
def test_an_interrupted_load_leaves_each_row_once(place: Place, interrupt: Callable[[Place], None]) -> None:
    loading(place)
    in_the_middle(place)
    interrupt(place)
    loaded(place)


def test_operators_that_are_killed_come_again_and_do_nothing_twice(place: Place) -> None:
    operators = ("-n", place.release.namespace, "-l", "app.kubernetes.io/component=operator")
    applied(place, pipeline("first"))
    last_run(place, "rows")
    place.apply(pipeline("second"))
    place.cluster.kubectl("delete", "pods", *operators, "--grace-period=0", "--force", "--wait=false")
    until(lambda: place.count("second") == 3, "the edit that nobody was there for is done", 90)
    assert len(place.schedules()) == 1
    generation = place.get("datapipeline", "rows")["metadata"]["generation"]
    until(
        lambda: place.status("datapipeline", "rows").get("observedGeneration") == generation,
        "the status speaks of the edit",
        30,
    )
