"""The simplest worker that the SDK's own documentation would have you write: what ours is measured against."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker


@activity.defn
async def nothing() -> None:
    """An activity that does nothing."""


@workflow.defn
class Simplest:
    """One activity."""

    @workflow.run
    async def run(self) -> None:
        """Call it."""
        await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=10))


async def main(address: str, queue: str) -> None:
    """Work until killed."""
    client = await Client.connect(address)
    await Worker(client, task_queue=queue, workflows=[Simplest], activities=[nothing]).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
