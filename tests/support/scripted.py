"""Activities by script, in place of the worker's own: for tests of the workflow alone, where time is skipped."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from tests.support.fixtures import unique
from tidemill_api.contract import RunInput, RunResult
from tidemill_api.names import WORKFLOW
from tidemill_worker.workflows.messages import (
    Begun,
    ChunkTask,
    Claimant,
    Counts,
    Ending,
    Limits,
    Planned,
    PlanTask,
    PublishTask,
)
from tidemill_worker.workflows.run import DataPipelineRun

LIMITS = Limits(
    timeout=3600, parallelism=2, initial_interval=1, backoff_coefficient=2, maximum_interval=60, maximum_attempts=0
)

THREE_CHUNKS = Planned(chunks=3, bytes=30)


async def _one_row(_task: ChunkTask) -> Counts:
    return Counts(chunks=1, rows_read=1, rows_loaded=1)


async def _nothing(_task: PublishTask) -> None:
    return None


@dataclass
class Script:
    """What the activities answer, and what was asked of them."""

    limits: Limits = LIMITS
    planned: Planned = THREE_CHUNKS
    begin: Callable[[Claimant], Awaitable[Begun]] | None = None
    plan: Callable[[PlanTask], Awaitable[Planned]] | None = None
    chunk: Callable[[ChunkTask], Awaitable[Counts]] = _one_row
    publish: Callable[[PublishTask], Awaitable[None]] = _nothing
    finish: Callable[[Ending], Awaitable[None]] | None = None
    recorded: RunResult | None = None
    """What `finish` answers again; a script of several runs forgets it each time."""
    calls: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    def called(self, name: str) -> list[Any]:
        """Arguments of the calls of one activity, in order."""
        return [argument for called, argument in self.calls if called == name]

    def activities(self) -> list[Callable[..., Any]]:
        """The five activities of the workflow."""

        @activity.defn(name="begin")
        async def begin(claimant: Claimant) -> Begun:
            self.calls.append(("begin", claimant))
            if self.begin is not None:
                return await self.begin(claimant)
            return Begun(state="Began", execution=1, limits=self.limits)

        @activity.defn(name="plan")
        async def plan(task: PlanTask) -> Planned:
            self.calls.append(("plan", task))
            return await self.plan(task) if self.plan is not None else self.planned

        @activity.defn(name="load_chunk")
        async def load_chunk(task: ChunkTask) -> Counts:
            self.calls.append(("load_chunk", task))
            return await self.chunk(task)

        @activity.defn(name="publish")
        async def publish(task: PublishTask) -> None:
            self.calls.append(("publish", task))
            await self.publish(task)

        @activity.defn(name="finish")
        async def finish(ending: Ending) -> RunResult:
            self.calls.append(("finish", ending))
            if self.finish is not None:
                await self.finish(ending)
            if self.recorded is None:  # as in the metastore, the first record stays
                self.recorded = RunResult(
                    pipeline=ending.claimant.order.pipeline,
                    run_key=ending.claimant.run_key,
                    result=ending.ending,
                    error=ending.error,
                )
            return self.recorded

        return [begin, plan, load_chunk, publish, finish]


@dataclass
class Stage:
    """A server on which time is skipped, and a worker that follows the script."""

    client: Client
    queue: str

    async def start(self, **order: Any) -> WorkflowHandle[Any, RunResult]:
        """Start a run by hand."""
        run = RunInput.model_validate(
            {
                "installation": "i",
                "namespace": "travel",
                "pipeline": "flights",
                "uid": "u",
                "spec": {},
                "run_key": "again",
                "trigger": "Manual",
                **order,
            }
        )
        return await self.client.start_workflow(
            WORKFLOW, run, id=f"i/travel/flights/{unique()}", task_queue=self.queue, result_type=RunResult
        )


@contextlib.asynccontextmanager
async def performed(environment: WorkflowEnvironment, script: Script) -> AsyncIterator[Stage]:
    """Run the real workflow with scripted activities."""
    config = environment.client.config()
    config["data_converter"] = pydantic_data_converter
    async with performed_with(Client(**config), script) as stage:
        yield stage


@contextlib.asynccontextmanager
async def performed_with(client: Client, script: Script, queue: str = "") -> AsyncIterator[Stage]:
    """Run the real workflow with scripted activities, by a client of the test's own; by default on a new queue."""
    queue = queue or unique("queue-")
    passed = SandboxRestrictions.default.with_passthrough_modules("tidemill_api", "tidemill_worker", "pydantic")
    async with Worker(
        client,
        task_queue=queue,
        workflows=[DataPipelineRun],
        activities=script.activities(),
        workflow_runner=SandboxedWorkflowRunner(restrictions=passed),
        # A heartbeat's answer is what tells an activity to stop; time isn't always skipped.
        max_heartbeat_throttle_interval=timedelta(milliseconds=200),
    ):
        yield Stage(client, queue)
