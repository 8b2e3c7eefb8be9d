"""What a pipeline that is gone may have left behind: its Schedules."""

from __future__ import annotations

from tidemill_api.names import PipelineId
from tidemill_operator.actions import Action, DeleteSchedule
from tidemill_operator.clients import Clients, Key


async def remains(key: Key, clients: Clients) -> tuple[Action, ...]:
    """Delete its Schedules, wherever the last sweeps saw one. The caller knows from the API server that it is gone."""
    pipeline = PipelineId(clients.settings.installation, key.namespace, key.name)
    found: list[Action] = []
    for connection in clients.store.connections_with(pipeline.schedule):
        entry = clients.store.in_temporal(connection, pipeline.schedule).entry
        memo = entry.memo if entry is not None else None
        # By its memo, not by its id alone: a Schedule that merely has such a name is a stranger's.
        if memo is not None and PipelineId(memo.installation, memo.namespace, memo.name) == pipeline:
            found.append(DeleteSchedule(connection, pipeline.schedule))
    return tuple(found)
