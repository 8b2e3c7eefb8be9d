"""Queries that stand in ConfigMaps, on a real API server and Temporal."""

from __future__ import annotations

import json
from typing import Any

from temporalio.client import Client

from tests.integration.test_operator_pipelines import action_of
from tests.support.operator_world import Manifest, World, pipeline, pool, run
from tests.support.waiting import until_async
from tidemill_api.names import content_hash

FIRST = "SELECT *, 1 AS version FROM raw\n"
SECOND = "SELECT *, 2 AS version FROM raw\n"
STEP = {
    "name": "named",
    "inputs": ["raw"],
    "sql": {"queryFrom": {"configMapKeyRef": {"name": "queries", "key": "named.sql"}}},
}


def config_map(**data: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "queries"},
        "data": {name.replace("_", "."): text for name, text in data.items()},
    }


def flights(cron: str | None = "15 6 1 1 *") -> Manifest:
    manifest = pipeline("flights", cron, steps=[STEP])
    manifest["spec"]["sinks"][0]["input"] = "named"
    return manifest


def when(so: bool) -> Manifest:
    """What `World.until` waits for."""
    return {"so": True} if so else {}


async def step_of(temporal: Client, world: World) -> dict[str, Any]:
    """The sql of the step as new scheduled runs get it."""
    action = await action_of(temporal, world.schedule_id("flights"))
    payload: Any = action.args[0]
    spec: dict[str, Any] = json.loads(payload.data)["spec"]
    found: dict[str, Any] = spec["steps"][0]["sql"]
    return found


async def test_the_text_of_a_config_map_is_what_runs(world: World, temporal: Client) -> None:
    world.apply(pool(), flights())
    waiting = world.wait("DataPipeline", "flights", "False", "WaitingForConfigMap")
    assert waiting["message"] == (
        "spec.steps[0].sql.queryFrom.configMapKeyRef.name: there is no ConfigMap queries in this namespace (yet)"
    )
    assert world.condition("DataPipeline", "flights", "Reconciling")["status"] == "True"

    world.apply(config_map(other_sql=FIRST))
    world.until(
        lambda: when("has no key named.sql" in world.condition("DataPipeline", "flights").get("message", "")),
        "the missing key is told",
    )
    world.apply(config_map(named_sql=FIRST))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    assert await step_of(temporal, world) == {"query": FIRST}
    told = [{"configMap": "queries", "key": "named.sql", "hash": content_hash(FIRST)}]
    assert world.get("DataPipeline", "flights")["status"]["queries"] == told

    world.apply(config_map(named_sql=SECOND))
    # Any event of the pipeline is a look; when it looks by itself is told by the table of plans.
    world.kubectl("annotate", "datapipeline", "flights", "example.test/look=first")

    async def second() -> bool:
        return await step_of(temporal, world) == {"query": SECOND}

    await until_async(second, "new runs have the new text", timeout=90)
    world.until(
        lambda: when(world.get("DataPipeline", "flights")["status"]["queries"][0]["hash"] == content_hash(SECOND)),
        "the status has its hash",
    )

    world.apply(config_map(named_sql="SELEC 1"))
    world.kubectl("annotate", "datapipeline", "flights", "example.test/look=second", "--overwrite")
    world.wait("DataPipeline", "flights", "False", "InvalidSQL")
    assert await step_of(temporal, world) == {"query": SECOND}, "the last good text goes on"


async def test_a_run_by_hand_waits_for_the_text_and_has_it(world: World, temporal: Client) -> None:
    world.apply(pool(), flights(None), run("by-hand", "flights"))
    world.wait("DataPipelineRun", "by-hand", "False", "WaitingForPipeline")
    world.apply(config_map(named_sql=FIRST))
    world.until(
        lambda: when("run" in (world.get("DataPipelineRun", "by-hand").get("status") or {})), "the run is started"
    )
    workflow = world.get("DataPipelineRun", "by-hand")["status"]["run"]["workflowId"]
    history = await temporal.get_workflow_handle(workflow).fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    assert json.loads(started.input.payloads[0].data)["spec"]["steps"][0]["sql"] == {"query": FIRST}


async def test_a_pipeline_that_goes_needs_no_text(world: World) -> None:
    world.apply(pool(), flights())
    world.wait("DataPipeline", "flights", "False", "WaitingForConfigMap")
    world.kubectl("delete", "datapipeline", "flights", "--wait=false")
    world.gone("DataPipeline", "flights")
