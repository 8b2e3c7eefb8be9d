"""A Python step over all rows of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import parquet as pq

import tidemill
from tidemill_api.errors import StepFailed
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.step import PythonStep
from tidemill_worker.engine.python.answers import as_table, fitted, schema_of
from tidemill_worker.engine.python.calls import Calls
from tidemill_worker.engine.python.remembered import Form, from_ipc, memory_of, to_ipc

_KEPT: Final = Form("whole", to_ipc, from_ipc)


@dataclass(frozen=True, slots=True)
class WholePython:
    """The function of a step of mode Whole."""

    name: str
    inputs: tuple[str, ...]
    field: str
    step: PythonStep

    def answer(self, tables: Mapping[str, pa.Table], calls: Calls) -> pa.Table:
        """What it makes of all rows. Blocks; raises SpecError, PythonFailed, PythonUnavailable, Stopped."""
        mine = {name: tables[name] for name in self.inputs}
        memory = memory_of(self.name, self.step, calls)
        if memory is None:
            return self._made(mine, calls)
        rows, *others = self.inputs
        return memory.found(_KEPT, mine[rows], {name: mine[name] for name in others}, lambda: self._made(mine, calls))

    def _made(self, mine: Mapping[str, pa.Table], calls: Calls) -> pa.Table:
        who, entrypoint = f"step {self.name}", self.step.entrypoint
        whole = tidemill.Whole(mine, calls.context(self.name, timeless=self.step.cache is not None))
        wanted = schema_of(self.step, self.field, whole.rows.schema)
        given = as_table(who, entrypoint, calls.call(who, entrypoint, whole))
        found = fitted(who, entrypoint, given, wanted)
        if found.bad:
            column = next(iter(found.bad.values()))
            raise StepFailed(
                f"step {self.name}: {entrypoint} gave a value of {column} that is beyond the type it declares"
            )
        return found.table


def held(step: WholePython, inputs: Mapping[str, Sequence[Path]], memory: int) -> dict[str, pa.Table]:
    """The rows of Parquet files as tables in memory: all that may be held is `memory` bytes. Raises StepFailed."""
    tables: dict[str, pa.Table] = {}
    size = 0
    for name, files in inputs.items():
        found = []
        for file in files:
            found.append(pq.read_table(str(file), memory_map=False, use_threads=False).replace_schema_metadata(None))
            size += found[-1].nbytes
            if size > memory:
                raise StepFailed(
                    f"step {step.name}: its inputs need more memory than a step may have ({memory >> 20} MiB): give "
                    "the pool's workers more, aggregate or leave out columns before it, or let it be of mode Batch"
                )
        tables[name] = pa.concat_tables(found)
    return tables


def whole_python(spec: DataPipelineSpec, name: str) -> WholePython | None:
    """The named step, if it is one."""
    for place, step in enumerate(spec.steps):
        if step.name == name and step.python is not None:
            return WholePython(name, step.inputs, f"spec.steps[{place}]", step.python)
    return None
