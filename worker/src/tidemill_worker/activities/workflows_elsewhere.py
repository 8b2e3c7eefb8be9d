"""Other runs of a pipeline, as Temporal knows them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from tidemill_api.errors import TemporalUnavailable
from tidemill_worker.overlap import Owner

_GONE = {RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT}


class Elsewhere:
    """Asks and tells other runs. A run that is gone is no error; raises TemporalUnavailable for all that is."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.name = name_of(client)

    async def closed(self, owners: Iterable[Owner]) -> frozenset[Owner]:
        """Those whose workflow has closed, or isn't there any more; of another Temporal's, if this one shows the end.

        It does if both are one under two names; if not, nothing can be said here.
        """
        asked = list(owners)
        answers = await asyncio.gather(*(self._is_closed(owner) for owner in asked))
        return frozenset(owner for owner, closed in zip(asked, answers, strict=True) if closed)

    def is_here(self, owner: Owner) -> bool:
        """Whether this is the Temporal that the owner is in."""
        return owner.is_of(self.name)

    async def cancel(self, owners: Iterable[Owner]) -> None:
        """Ask them to stop; asking again changes nothing."""
        for owner in owners:
            handle = self._client.get_workflow_handle(owner.workflow_id, first_execution_run_id=owner.run_id)
            try:
                await handle.cancel()
            except RPCError as error:
                _unless_gone(error)

    async def terminate(self, owners: Iterable[Owner], reason: str) -> None:
        """End them at once."""
        for owner in owners:
            handle = self._client.get_workflow_handle(owner.workflow_id, first_execution_run_id=owner.run_id)
            try:
                await handle.terminate(reason=reason)
            except RPCError as error:
                _unless_gone(error)

    async def signal(self, owner: Owner, name: str) -> None:
        """Send a signal without arguments."""
        try:
            await self._client.get_workflow_handle(owner.workflow_id).signal(name)
        except RPCError as error:
            _unless_gone(error)

    async def _is_closed(self, owner: Owner) -> bool:
        """Whether the owner's chain of runs has ended; the newest run of its id may be another's by now."""
        newest = await self._described(owner.workflow_id)
        if newest is not None and (newest.raw_description.workflow_execution_info.first_run_id or newest.run_id) == (
            owner.run_id
        ):
            return newest.status != WorkflowExecutionStatus.RUNNING
        if self.is_here(owner):
            return True
        return newest is not None and await self._described(owner.workflow_id, owner.run_id) is not None

    async def _described(self, workflow_id: str, run_id: str | None = None) -> WorkflowExecutionDescription | None:
        try:
            return await self._client.get_workflow_handle(workflow_id, run_id=run_id).describe()
        except RPCError as error:
            _unless_gone(error)
            return None


def name_of(client: Client) -> str:
    """Which Temporal a client leads to, as metastores note it: `address/namespace`."""
    return f"{client.service_client.config.target_host}/{client.namespace}"


def _unless_gone(error: RPCError) -> None:
    if error.status not in _GONE:
        raise TemporalUnavailable(f"Temporal didn't answer ({error.status.name})") from error
