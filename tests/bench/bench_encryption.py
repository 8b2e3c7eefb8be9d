"""What encryption costs: a run on an encrypting worker against one on a worker that doesn't, and the cipher alone."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from temporalio.api.common.v1 import Payload

from tests.bench.bench_start import ONE_ROW, Times, timed
from tests.bench.measurement import Measurement, compared, say
from tests.support.fixtures import Database, unique
from tests.support.keys import MountedRing, new_key
from tests.support.worker import Pool, Runs, WorkerProcess, runs_on
from tidemill_api.names import KEYS_VARIABLE
from tidemill_cli.dev.components import postgres, temporal
from tidemill_cli.dev.components.component import running
from tidemill_codec.cipher import Cipher
from tidemill_codec.folder import KeyFolder

_WARM = 5
"""Runs that import, connect and make the table."""


@dataclass
class _Side:
    """A pool with its worker, encrypting or not."""

    runs: Runs
    worker: WorkerProcess

    def cpu(self) -> float:
        """Milliseconds of processors that the worker has used."""
        fields = Path(f"/proc/{self.worker.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    async def run(self) -> tuple[Times, int]:
        """Times of a run that loads a row, and the bytes of its history."""
        handle = await self.runs.start(ONE_ROW)
        result = await handle.result()
        if result.rows_loaded != 1:
            raise RuntimeError(f"a run loaded {result.rows_loaded} rows: {result}")
        history = await handle.fetch_history()
        return await timed(handle), sum(event.ByteSize() for event in history.events)


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """See the module."""
    with tempfile.TemporaryDirectory() as folder:
        for measurement in _ciphers(Path(folder, "alone"), 3 if quick else 15):
            yield measurement
        server = temporal.describe(Path(folder, "temporal"), persistent=False)
        database = postgres.describe(Path(folder, "postgres"), durable=True)
        async with running(server.component), running(database.component), AsyncExitStack() as stack:
            ring = MountedRing(Path(folder, "keys"), k1=new_key(), active="k1")
            sides = [
                await _side(stack, Path(folder, name), Database(database, postgres.DATABASE), server, keys)
                for name, keys in (("open", None), ("sealed", ring))
            ]
            try:
                async for measurement in _runs(sides[0], sides[1], 40 if quick else 200):
                    yield measurement
            finally:
                for side in sides:
                    await asyncio.to_thread(side.worker.stop)


async def _side(
    stack: AsyncExitStack,
    folder: Path,
    database: Database,
    server: temporal.TemporalServer,
    ring: MountedRing | None,
) -> _Side:
    folder.mkdir()
    pool = Pool(folder, database, unique("i"), server)
    pool.write()
    (pool.landing / "one.csv").write_text("id,name\n1,one\n")
    keys = KeyFolder(ring.folder) if ring is not None else None
    runs = await stack.enter_async_context(runs_on(pool, keys))
    environment = {KEYS_VARIABLE: str(ring.folder)} if ring is not None else {}
    return _Side(runs, await asyncio.to_thread(pool.start, environment=environment))


async def _runs(plain: _Side, sealed: _Side, rounds: int) -> AsyncIterator[Measurement]:
    open_runs, sealed_runs, used = [], [], [0.0, 0.0]
    for number in range(rounds + _WARM):
        pair = [await side.run() for side in ((plain, sealed) if number % 2 else (sealed, plain))]
        mine, other = reversed(pair) if number % 2 else pair
        if number < _WARM:
            used = [-side.cpu() for side in (sealed, plain)]
        else:
            sealed_runs.append(mine)
            open_runs.append(other)
    used = [(before + side.cpu()) / rounds for before, side in zip(used, (sealed, plain), strict=True)]
    against = "the same run, not encrypted"
    yield compared(
        "encryption.run.whole", [t.whole for t, _ in sealed_runs], "ms", against, [t.whole for t, _ in open_runs]
    )
    yield compared(
        "encryption.run.overhead",
        [t.overhead for t, _ in sealed_runs],
        "ms",
        against,
        [t.overhead for t, _ in open_runs],
    )
    yield Measurement("encryption.run.worker_cpu", used[0], "ms", against, used[0] / used[1], rounds)
    yield compared(
        "encryption.history", [size for _, size in sealed_runs], "bytes", against, [size for _, size in open_runs]
    )


def _ciphers(folder: Path, rounds: int) -> list[Measurement]:
    """The cipher with a ring as a worker has it."""
    MountedRing(folder, k1=new_key(), active="k1")
    cipher = Cipher(KeyFolder(folder), "default")
    found = []
    for size, unit, times in ((1 << 20, "MB/s", 50), (500, "us", 5000)):
        say(f"encryption: payloads of {size} bytes")
        payload = Payload(metadata={"encoding": b"json/plain"}, data=os.urandom(size))
        sealed = cipher.encrypt(payload)
        for name, work in (
            ("encrypt", lambda p=payload: cipher.encrypt(p)),
            ("decrypt", lambda s=sealed: cipher.decrypt(s)),
        ):
            seconds = statistics.median(_each(work, times) for _ in range(rounds))
            value = size / seconds / 1e6 if unit == "MB/s" else seconds * 1e6
            found.append(Measurement(f"encryption.{name}.{size}_bytes", value, unit, n=rounds))
    return found


def _each(work: Callable[[], Payload], times: int) -> float:
    """Seconds of a processor that one takes."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times
