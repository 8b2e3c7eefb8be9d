"""Everything of a session that needs Temporal's client, behind one import."""

from __future__ import annotations

from temporalio.client import Client

from tidemill_cli.dev.runs import Runs
from tidemill_cli.dev.schedules import Schedules
from tidemill_cli.dev.view import Show


async def connect(address: str, show: Show) -> tuple[Runs, Schedules]:
    """Runs and Schedules of the Temporal at an address."""
    return Runs(await Client.connect(address), show), Schedules(address)
