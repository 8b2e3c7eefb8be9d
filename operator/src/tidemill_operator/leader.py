"""One leader by a Lease. `next_step` decides, pure; `Election` acts on it.

`kubernetes.aio.leaderelection` isn't used: it compares wall clocks of different machines, never gives the Lease back,
and lets work go on while its own renewals hang. Here a holder counts as silent when its record hasn't changed for the
Lease's duration by our own monotonic clock; a leader stops working at two thirds of it, counted from before its last
renewal was sent; and a leader that ends in order empties the record, so that the next one takes over at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from tidemill_api.errors import TidemillError
from tidemill_operator.clients import Object

log: Final = logging.getLogger(__name__)

Step = Literal["Create", "Take", "Renew", "Wait"]

_LOOK: Final = 2.0
"""Most seconds between two looks of one that waits: a Lease given back is taken at once, however long its own holds."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a Lease says, and since when it has said so by our own clock."""

    holder: str
    version: str
    seconds: float
    since: float

    @classmethod
    def read(cls, lease: Object, before: Record | None, now: float) -> Record:
        """The record in a Lease; one that didn't change keeps its time."""
        spec = lease.get("spec") or {}
        version = str(lease["metadata"]["resourceVersion"])
        unchanged = before is not None and before.version == version
        return cls(
            holder=spec.get("holderIdentity") or "",
            version=version,
            seconds=float(spec.get("leaseDurationSeconds") or 0),
            since=before.since if before is not None and unchanged else now,
        )


def next_step(record: Record | None, identity: str, now: float) -> Step:
    """What to do about a Lease (None: there is none)."""
    if record is None:
        return "Create"
    if record.holder == identity:
        return "Renew"
    if not record.holder or now - record.since > record.seconds:
        return "Take"
    return "Wait"


class Leases(Protocol):
    """The part of the API server that an election needs."""

    async def get(self, kind: str, namespace: str, name: str, /) -> Object | None:
        """The Lease."""
        ...

    async def create(self, kind: str, namespace: str, manifest: Object, /) -> Object:
        """A new Lease."""
        ...

    async def merge(self, kind: str, namespace: str, name: str, patch: Object, /) -> Object:
        """A changed Lease."""
        ...


class Election:
    """Waits for the Lease, works while holding it, gives it back."""

    def __init__(self, leases: Leases, namespace: str, name: str, identity: str, seconds: float) -> None:
        """`seconds`: how long the Lease holds without being renewed."""
        self._leases = leases
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._seconds = seconds
        self._record: Record | None = None
        self._certain = False  # after a write without a clear answer the Lease is read before the next one
        self.leading = False

    async def run(self, work: Callable[[], Awaitable[None]], beat: Callable[[], None]) -> None:
        """Lead whenever possible, until cancelled. `work` runs while leading and is cancelled before the Lease ends.

        `beat` is called at each round. Whatever `work` raises ends the election and is raised here.
        """
        while True:
            since = await self._acquire(beat)
            log.info("leading as %s", self._identity)
            self.leading = True
            try:
                await self._lead(work, beat, since)
            finally:
                self.leading = False
                await self._release()
            log.warning("no longer leading: the Lease %s/%s could not be renewed", self._namespace, self._name)

    async def _acquire(self, beat: Callable[[], None]) -> float:
        """Returns when the Lease is ours: the moment before it was asked for, from which its time counts."""
        while True:
            beat()
            began = _now()
            try:
                # An answer that took too long may be about a Lease that another one has taken meanwhile: ask again.
                if await self._try(began) and _now() < began + self._lasts:
                    return began
            except TidemillError as error:
                log.warning("can't get the Lease %s/%s: %s", self._namespace, self._name, error)
            await asyncio.sleep(min(self._pause, _LOOK))

    async def _lead(self, work: Callable[[], Awaitable[None]], beat: Callable[[], None], since: float) -> None:
        task = asyncio.ensure_future(work())
        renewal = asyncio.create_task(self._renew(beat, since))
        try:
            await asyncio.wait((task, renewal), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            for each in (task, renewal):
                each.cancel()
            await asyncio.gather(task, renewal, return_exceptions=True)

    async def _renew(self, beat: Callable[[], None], good: float) -> None:
        """Renew until that fails for two thirds of the Lease's duration; returns then. `good`: when it was acquired."""
        while True:
            deadline = good + self._lasts
            await asyncio.sleep(min(self._pause, max(deadline - _now(), 0)))
            beat()
            began = _now()
            try:
                async with asyncio.timeout_at(deadline):
                    if not await self._try(began):
                        log.warning("another process has taken the Lease %s/%s", self._namespace, self._name)
                        return
                good = began
            except TidemillError as error:
                log.warning("can't renew the Lease %s/%s: %s", self._namespace, self._name, error)
            except TimeoutError:
                return
            if _now() >= deadline:
                return

    @property
    def _lasts(self) -> float:
        return self._seconds * 2 / 3

    @property
    def _pause(self) -> float:
        return self._seconds / 7.5

    async def _try(self, now: float) -> bool:
        """One round; True if the Lease is ours."""
        if not self._certain or self._record is None or self._record.holder != self._identity:
            lease = await self._leases.get("Lease", self._namespace, self._name)
            self._record = Record.read(lease, self._record, now) if lease is not None else None
        step = next_step(self._record, self._identity, now)
        if step == "Wait":
            return False
        self._certain = False
        self._record = Record.read(await self._write(step), None, now)
        self._certain = True
        return True

    async def _write(self, step: Step) -> Object:
        moment = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec: dict[str, Any] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._seconds)),
            "renewTime": moment,
        }
        if step != "Renew":
            spec["acquireTime"] = moment
        if step == "Create":
            manifest = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": spec,
            }
            return await self._leases.create("Lease", self._namespace, manifest)
        return await self._patch(spec)

    async def _patch(self, spec: dict[str, Any]) -> Object:
        record = self._record
        metadata = {"resourceVersion": record.version} if record is not None else {}
        return await self._leases.merge("Lease", self._namespace, self._name, {"metadata": metadata, "spec": spec})

    async def _release(self) -> None:
        if self._record is None or self._record.holder != self._identity:
            return
        with contextlib.suppress(TidemillError, TimeoutError):
            async with asyncio.timeout(2):
                await self._patch({"holderIdentity": "", "leaseDurationSeconds": 1})
                log.info("gave the Lease %s/%s back", self._namespace, self._name)
        self._record = None


def _now() -> float:
    return asyncio.get_running_loop().time()
