"""A step that needs all rows: from the rows that earlier stages kept to an answer that later ones read."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import duckdb
import pyarrow as pa

from tidemill_api.contract import RunProgress
from tidemill_api.v1alpha1 import DataPipelineSpec, parse_bytes
from tidemill_check.parameters import bind_parameters
from tidemill_worker.engine import kept
from tidemill_worker.engine.artifacts import Artifacts, Kept, node_folder
from tidemill_worker.engine.limits import disk_for_a_step, memory_for_a_step
from tidemill_worker.engine.model import AskedToStop, Connections, Parameters, Report, RunRef, Stopped
from tidemill_worker.engine.python.calls import Calls
from tidemill_worker.engine.python.whole import WholePython, held, whole_python
from tidemill_worker.engine.sandbox import Values
from tidemill_worker.engine.whole_query import BATCH_ROWS, Room, asked, computer, whole_step
from tidemill_worker.engine.work import Computation

if TYPE_CHECKING:
    from tidemill_worker.cache import Computed

LOOK_SECONDS: Final = 0.2
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def compute(
    spec: DataPipelineSpec,
    parameters: Parameters,
    run: RunRef,
    computation: Computation,
    connections: Connections,
    progress: Report,
    asked_to_stop: AskedToStop,
) -> None:
    """See `engine.compute`."""
    values = bind_parameters(spec, parameters, run.run_time, run.interval_start)
    store = connections.artifacts()
    working = _Working(spec, run, computation, store, values, connections.cache)
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    async with turn:  # one at a time has the memory that there is for them
        future = asyncio.get_running_loop().run_in_executor(None, working.work)
        try:
            while not future.done():
                if asked_to_stop():
                    working.stop()
                progress(RunProgress(rows_loaded=working.rows))
                await asyncio.wait([future], timeout=LOOK_SECONDS)
        except asyncio.CancelledError:
            await _stopped(working, future)
            raise
        future.result()


async def _stopped(working: _Working, future: asyncio.Future[None]) -> None:
    """Wait for the thread, which can only be asked to end, and may not have got to where it hears that."""
    while not future.done():
        working.stop()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future], timeout=LOOK_SECONDS)
    future.exception()  # seen: nobody else will ask


class _Working:
    """The work of one thread, which another may stop."""

    def __init__(
        self,
        spec: DataPipelineSpec,
        run: RunRef,
        computation: Computation,
        store: Artifacts,
        values: Values,
        cache: Computed | None,
    ) -> None:
        self.rows = 0
        self._step = whole_python(spec, computation.step) or whole_step(spec, computation.step)
        self._most = (spec.execution.chunk.max_rows, parse_bytes(spec.execution.chunk.max_bytes))
        self._run = run
        self._computation = computation
        self._store = store
        self._values = values
        self._calls = Calls(values, cache)
        self._stopped = threading.Event()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def stop(self) -> None:
        """End as soon as can be. Called again and again until the work has ended."""
        self._stopped.set()
        self._calls.stop()
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def work(self) -> None:
        """Make the answer, unless it is there. Raises Stopped, SQLError, StepFailed, ArtifactGone."""
        node = node_folder(self._run, self._step.name)
        name = f"{node}/{Kept(self._computation.index, 0, last=True).name}"
        if self._store.has(name):
            return
        try:
            self._write(name)
        except duckdb.InterruptException:
            raise Stopped from None
        finally:
            self._connection = None

    def _write(self, name: str) -> None:
        with ExitStack() as stack:
            inputs = {
                each.name: self._files(stack, each.name, each.first, each.count) for each in self._computation.inputs
            }
            path = stack.enter_context(self._store.writing())
            with ExitStack() as closing:
                batches = self._answer(closing, inputs)
                writing = kept.ParquetWriting(closing, path, batches.schema, self._step.name, *self._most)
                for batch in batches:
                    if self._stopped.is_set():
                        raise Stopped
                    writing.add(pa.Table.from_batches([batch]))
                    self.rows = writing.rows
                writing.end({"rows": writing.rows})
            self._store.put(path, name)

    def _answer(self, stack: ExitStack, inputs: Mapping[str, list[Path]]) -> pa.RecordBatchReader:
        """The rows of the answer, in its order, while `stack` is open."""
        memory = memory_for_a_step()
        if isinstance(self._step, WholePython):
            tables = held(self._step, inputs, memory)
            return self._step.answer(tables, self._calls).to_reader(BATCH_ROWS)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemill-step-")))
        room = Room(memory, disk_for_a_step(folder), folder)
        connection = self._connection = stack.enter_context(computer(inputs, room))
        return asked(connection, self._step, inputs, self._values, room)

    def _files(self, stack: ExitStack, node: str, first: int, count: int) -> list[Path]:
        names = kept.whole_files(self._store, self._run, node, first, count)
        return [stack.enter_context(self._store.held(name)) for name in names]
