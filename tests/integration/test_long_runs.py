"""Runs with very many chunks: their history stays short, and each chunk is done once."""

from __future__ import annotations

from collections import Counter

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from tests.support.fixtures import unique
from tests.support.scripted import LIMITS, Script, Stage
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_worker.workflows.messages import Begun, Claimant, Planned
from tidemill_worker.workflows.run import MOST_EVENTS, DataPipelineRun

CHUNKS = 900


async def test_a_long_run_continues_as_new_and_does_each_chunk_once(temporal_server: TemporalServer) -> None:
    limits = LIMITS.model_copy(update={"parallelism": 40})
    script = Script(limits=limits, planned=Planned(chunks=CHUNKS, bytes=1, staged=("out",)))
    owners: set[str] = set()

    async def begin(claimant: Claimant) -> Begun:
        owners.add(claimant.workflow_run_id)
        return Begun(state="Began", execution=1, limits=limits)

    script.begin = begin
    client = await Client.connect(temporal_server.address, data_converter=pydantic_data_converter)
    queue = unique("queue-")
    passed = SandboxRestrictions.default.with_passthrough_modules("tidemill_api", "tidemill_worker", "pydantic")
    async with Worker(
        client,
        task_queue=queue,
        workflows=[DataPipelineRun],
        activities=script.activities(),
        workflow_runner=SandboxedWorkflowRunner(restrictions=passed),
    ):
        handle = await Stage(client, queue).start()
        result = await handle.result()
        last = await client.get_workflow_handle(handle.id).describe()

    assert result.result == "Succeeded"
    assert Counter(task.chunk for task in script.called("load_chunk")) == Counter(range(CHUNKS))
    assert last.run_id != handle.first_execution_run_id
    assert last.history_length < MOST_EVENTS + 10 * limits.parallelism
    assert [name for name, _ in script.calls if name != "load_chunk"] == ["begin", "plan", "publish", "finish"]
    (ending,) = script.called("finish")
    assert {ending.claimant.workflow_run_id} == owners == {handle.first_execution_run_id}
