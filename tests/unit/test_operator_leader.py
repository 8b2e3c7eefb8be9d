"""The election, where answers of the API server are late: its time counts from before a write was sent."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field

from tidemill_operator.clients import ConflictError, Object
from tidemill_operator.leader import Election

SECONDS = 3.0


@dataclass
class Server:
    """One Lease that nobody holds; each write is carried out at once and answered after so many seconds."""

    late: list[float]
    writes: list[float] = field(default_factory=list)
    lease: Object = field(
        default_factory=lambda: {
            "metadata": {"resourceVersion": "1"},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": 1},
        }
    )

    async def get(self, _kind: str, _namespace: str, _name: str) -> Object:
        return copy.deepcopy(self.lease)

    async def create(self, _kind: str, _namespace: str, _manifest: Object) -> Object:
        raise AssertionError("it is there")

    async def merge(self, _kind: str, _namespace: str, _name: str, patch: Object) -> Object:
        version = self.lease["metadata"]["resourceVersion"]
        if patch["metadata"].get("resourceVersion") != version:
            raise ConflictError(409, "Conflict", "changed")
        self.writes.append(asyncio.get_running_loop().time())
        spec = {**self.lease["spec"], **patch["spec"]}
        self.lease = {"metadata": {"resourceVersion": str(int(version) + 1)}, "spec": spec}
        written = copy.deepcopy(self.lease)
        await asyncio.sleep(self.late.pop(0) if self.late else 0)
        return written


async def led(server: Server) -> tuple[float, float]:
    """From when until when the election leads, counted from the first write."""
    loop = asyncio.get_running_loop()
    began: list[float] = []
    ended = asyncio.Event()

    async def work() -> None:
        began.append(loop.time())
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    election = Election(server, "n", "l", "me", SECONDS)
    running = asyncio.create_task(election.run(work, lambda: None))
    async with asyncio.timeout(60):
        await ended.wait()
    until = loop.time()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return began[0] - server.writes[0], until - server.writes[0]


async def test_an_answer_that_took_too_long_is_no_lease() -> None:
    """Another one may have taken it in between: the next write tells."""
    server = Server([2.1, 0, 60])

    since, _ = await led(server)

    assert server.writes[1] - server.writes[0] > 2
    assert since >= server.writes[1] - server.writes[0]


async def test_the_time_of_the_acquiring_write_counts() -> None:
    since, until = await led(Server([1.3, 60]))

    assert 1.2 < since < 2
    assert 1.9 < until < 2.8
