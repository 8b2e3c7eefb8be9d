"""`publish`: make a sink's staged rows visible, all at once, if its checks hold."""

from __future__ import annotations

from temporalio import activity

from tidemill_worker import engine
from tidemill_worker.activities.heartbeat import Heart
from tidemill_worker.activities.resources import Resources
from tidemill_worker.activities.translation import translated
from tidemill_worker.metastore import RunId, checks, chunks
from tidemill_worker.workflows.messages import PUBLISH, PublishTask


class Publish:
    """The activity and what it needs."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @activity.defn(name=PUBLISH)
    async def publish(self, task: PublishTask) -> None:
        """Publish; a sink that is published already stays as it is."""
        with translated():
            await Heart().during(self._publish(task), lambda _: False)

    async def _publish(self, task: PublishTask) -> None:
        resources = self._resources
        run = RunId(task.uid, task.run_key, task.execution)
        snapshot = await resources.permitted(run)
        planned = await chunks.chunks_of(resources.store, run)
        mine = tuple(check for check in snapshot.spec.checks if check.sink == task.sink)
        former = await checks.former(resources.store, run, mine, snapshot.ref.run_time)
        also = await resources.moves(run, snapshot, planned)
        done = await engine.publish(
            snapshot.spec, snapshot.ref, task.sink, planned, resources.connections, former, also
        )
        await resources.wrote(snapshot.spec, (task.sink,))
        await checks.keep(resources.store, run, mine, done.checks)
        if done.refused is not None:
            raise done.refused
        await chunks.keep_published(resources.store, run, done.count)
