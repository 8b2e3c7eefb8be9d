"""Runs of `tidemill dev` on a real Temporal, where no worker helps: what is continued, replaced, waited for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from tests.support.fixtures import unique
from tests.support.scripted import Script, performed_with
from tests.support.waiting import until_async
from tidemill_api.names import WORKFLOW
from tidemill_api.v1alpha1 import DataPipeline
from tidemill_api.v1alpha1.workerpool import Concurrency, Metastore
from tidemill_cli.dev import runs as module
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_cli.dev.followers import Followers
from tidemill_cli.dev.layout import INSTALLATION, Embedded, Layout, Pipeline, Pool
from tidemill_cli.dev.runs import Runs
from tidemill_cli.dev.view import RunView
from tidemill_cli.lint.yaml_text import read_documents
from tidemill_cli.manifests import Manifest, Place
from tidemill_operator.adapters.temporal import TemporalClient
from tidemill_operator.pipeline.wish import memo_of, run_input
from tidemill_operator.views import TemporalTarget
from tidemill_worker.workflows.messages import Ending

TEXT = """
apiVersion: tidemill.dev/v1alpha1
kind: DataPipeline
metadata: {{name: flights, namespace: {namespace}}}
spec:
  workerPoolRef: {{name: etl}}
  sources: [{{name: raw, connection: landing, files: {{path: "{path}", format: {{csv: {{}}}}}}}}]
  sinks: [{{name: out, input: raw, connection: w, postgres: {{table: public.t}}, writeDisposition: Append}}]
"""
FOLLOWS = """
apiVersion: tidemill.dev/v1alpha1
kind: DataPipeline
metadata: {{name: daily, namespace: {namespace}}}
spec:
  workerPoolRef: {{name: etl}}
  schedule: {{after: [{{pipelineRef: {{name: flights}}}}]}}
  sources: [{{name: raw, connection: landing, files: {{path: "{path}", format: {{csv: {{}}}}}}}}]
  sinks: [{{name: out, input: raw, connection: w, postgres: {{table: public.u}}, writeDisposition: Append}}]
"""
Handle = WorkflowHandle[object, object]


def pipeline(namespace: str, path: str = "a.csv", text: str = TEXT) -> Pipeline:
    (document,) = read_documents(text.format(namespace=namespace, path=path))
    manifest = Manifest(DataPipeline.model_validate(document.value), Place(Path("p.yaml"), document))
    keeps = Embedded("w", ("public",))
    return Pipeline(manifest, Pool(namespace, "etl", Concurrency(), (), Metastore(connection="w"), (keeps,)), {})


@pytest.fixture
async def client(temporal_server: TemporalServer) -> Client:
    return await Client.connect(temporal_server.address)


@pytest.fixture
def namespace() -> str:
    """A Kubernetes namespace that only ids know of."""
    return unique("n")


async def opened(client: Client, workflow: str) -> Handle:
    """The handle of a run, once it is open."""
    handle: Handle = client.get_workflow_handle(workflow)

    async def listed() -> bool:
        query = f"WorkflowId = '{workflow}' AND ExecutionStatus = 'Running'"
        return [run.id async for run in client.list_workflows(query)] == [workflow]

    await until_async(listed, f"{workflow} open")
    return handle


async def test_a_run_that_ends_by_force_is_a_failed_one_in_temporals_words(client: Client, namespace: str) -> None:
    shown: list[RunView] = []
    run = asyncio.create_task(Runs(client, shown.append).run_once(pipeline(namespace), "dev-1"))
    handle = await opened(client, f"dev/{namespace}/flights/dev-1")

    await handle.terminate("enough")
    result = await run

    assert (result.result, result.pipeline, result.run_key) == ("Failed", f"{namespace}/flights", "dev-1")
    assert result.error is not None
    assert result.error.type == "TerminatedError"
    assert "terminated" in result.error.message
    assert shown[-1].result == result


async def test_an_open_run_of_an_earlier_session_is_continued(client: Client, namespace: str) -> None:
    earlier = asyncio.create_task(Runs(client, lambda _: None).run_once(pipeline(namespace), "dev-1"))
    handle = await opened(client, f"dev/{namespace}/flights/dev-1")

    later = asyncio.create_task(Runs(client, lambda _: None).run_once(pipeline(namespace), "dev-2"))
    await asyncio.wait((later,), timeout=0.5)
    await handle.terminate("done")

    assert (await later).run_key == (await earlier).run_key == "dev-1"
    query = f"WorkflowId STARTS_WITH 'dev/{namespace}/'"
    assert [run.id async for run in client.list_workflows(query)] == [handle.id]


async def test_a_changed_manifest_replaces_the_open_run(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CANCEL_SECONDS", 0.2)
    earlier = asyncio.create_task(Runs(client, lambda _: None).run_once(pipeline(namespace), "dev-1"))
    await opened(client, f"dev/{namespace}/flights/dev-1")

    later = asyncio.create_task(Runs(client, lambda _: None).run_once(pipeline(namespace, "b.csv"), "dev-2"))
    new = await opened(client, f"dev/{namespace}/flights/dev-2")
    ended = await earlier
    await new.terminate("done")

    assert (await later).run_key == "dev-2"
    assert ended.error is not None
    assert ended.error.type == "TerminatedError"


async def test_an_open_scheduled_run_goes_first(client: Client, namespace: str) -> None:
    workflow = f"dev/{namespace}/flights/scheduled-2026-01-01T00:00:00Z"
    await client.start_workflow(WORKFLOW, {}, id=workflow, task_queue="nobody")
    scheduled = await opened(client, workflow)
    shown: list[RunView] = []

    run = asyncio.create_task(Runs(client, shown.append).run_once(pipeline(namespace), "dev-1"))

    async def followed() -> bool:
        return bool(shown)

    await until_async(followed, "the scheduled run to be shown")
    with pytest.raises(Exception, match="not found"):
        await client.get_workflow_handle(f"dev/{namespace}/flights/dev-1").describe()
    await scheduled.terminate("done")
    mine = await opened(client, f"dev/{namespace}/flights/dev-1")
    await mine.terminate("done")

    assert (await run).run_key == "dev-1"
    description = await scheduled.describe()
    assert description.status == WorkflowExecutionStatus.TERMINATED


async def test_a_pipeline_that_follows_is_started_once(temporal_server: TemporalServer, namespace: str) -> None:
    client = await Client.connect(temporal_server.address, data_converter=pydantic_data_converter)
    temporal = TemporalClient(
        TemporalTarget(temporal_server.address), INSTALLATION, lambda _call, _outcome, _seconds: None
    )
    first, second = pipeline(namespace), pipeline(namespace, text=FOLLOWS)
    key = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:00:00Z}"
    script = Script()

    async def forget(_ending: Ending) -> None:
        script.recorded = None

    script.finish = forget
    async with performed_with(client, script, first.pool.task_queue):
        following = asyncio.create_task(Followers(temporal, Layout((first.pool,), (first, second))).keep_starting())
        order = run_input(first.id, first.uid, 0, first.spec, run_key=key)
        await temporal.start_run(
            first.id.scheduled_run(key), first.pool.task_queue, order, memo_of(first.id, first.uid), None
        )

        async def ended() -> bool:
            seen = await temporal.describe_run(second.id.scheduled_run(key))
            return seen is not None and seen.state == "Succeeded"

        await until_async(ended, "daily has run for the same time")
        following.cancel()
    runs = [each.order for each in script.called("begin")]
    assert [(each.pipeline, each.run_key, each.trigger) for each in runs] == [
        ("flights", key, "Schedule"),
        ("daily", key, "Schedule"),
    ]
