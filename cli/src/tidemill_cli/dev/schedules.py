"""The pipelines' Schedules on the embedded Temporal: the same as a cluster's operator would make."""

from __future__ import annotations

from temporalio.client import Client

from tidemill_cli.dev.layout import INSTALLATION, Layout


class Schedules:
    """Makes and removes Schedules."""

    def __init__(self, client: Client, address: str) -> None:
        """The client is connected to the Temporal at the address."""
        self._client = client
        self._address = address

    async def clear(self) -> None:
        """Remove what an earlier session has made, so that nothing starts by itself until `apply`."""
        async for entry in await self._client.list_schedules():
            if entry.id.startswith(f"{INSTALLATION}/"):
                await self._client.get_schedule_handle(entry.id).delete()

    async def apply(self, layout: Layout) -> list[str]:
        """Make the Schedules; returns a line about each pipeline."""
        return [f"{each.id.namespace}/{each.id.name}: no schedule" for each in layout.pipelines]
