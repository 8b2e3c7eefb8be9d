"""What pure functions gave, in the pool's cache: found again for the same rows, parameters and code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import pyarrow as pa

from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.cache import FunctionCache
from tidemill_api.v1alpha1.step import PythonStep
from tidemill_worker.engine.python.builds import build_of
from tidemill_worker.engine.python.calls import Calls

if TYPE_CHECKING:
    from tidemill_worker.cache import Computed

_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression="zstd")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How what a function gave is kept as bytes."""

    name: str
    packed: Callable[[T], bytes]
    unpacked: Callable[[bytes], T]


@dataclass(frozen=True, slots=True)
class Memory:
    """The cache as one step sees it, during one piece of work."""

    cache: Computed
    settings: FunctionCache
    name: str
    """The step's name."""
    step: PythonStep
    calls: Calls
    _known: dict[str, tuple[pa.Table, str]] = field(default_factory=dict)
    """Of other inputs, which are the same for many batches: the table and its content."""

    def found(self, form: Form[T], rows: pa.Table, others: Mapping[str, pa.Table], make: Callable[[], T]) -> T:
        """What the function gave for the same rows and other inputs, or gives now. Raises what `make` raises."""
        build = build_of(self.step.entrypoint)
        if build is None:
            return make()
        settings = self.settings
        ttl = parse_duration(settings.ttl).total_seconds() if settings.ttl is not None else None
        key = [
            *("python", form.name, self.name, self.step.to_json() | {"cache": None}, build),
            {name: [type(value).__name__, str(value)] for name, value in self.calls.parameters.items()},
            content(rows),
            [[name, self._content(name, table)] for name, table in others.items()],
        ]
        tags = [f"step/{self.name}", *(f"table/{each}" for each in settings.tables)]
        made: list[T] = []

        def compute(_stale: object) -> bytes:
            made.append(make())
            return form.packed(made[0])

        value = self.cache.computed(key, tags, ttl, compute, go_on=lambda: self.calls.going_on)
        return made[0] if made else form.unpacked(value)

    def _content(self, name: str, table: pa.Table) -> str:
        known = self._known.get(name)
        if known is None or known[0] is not table:
            known = self._known[name] = (table, content(table))
        return known[1]


def memory_of(name: str, step: PythonStep, calls: Calls) -> Memory | None:
    """The memory of a step, if it is declared pure and the pool has a cache."""
    if step.cache is None or calls.cache is None:
        return None
    return Memory(calls.cache, step.cache, name, step, calls)


def content(table: pa.Table) -> str:
    """The same for tables with the same columns, types and values, in the same order.

    Tables that are alike may differ in it (by what stands where a value is missing): then they are taken for others.
    """
    hashed = _Hash()
    whole = table.replace_schema_metadata(None).combine_chunks()
    with pa.PythonFile(hashed, mode="w") as sink, pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    return hashed.digest


def to_ipc(table: pa.Table) -> bytes:
    """A table as an Arrow stream, compressed."""
    sink = pa.BufferOutputStream()
    whole = table.combine_chunks()
    with pa.ipc.new_stream(sink, whole.schema, options=_COMPRESSED) as writer:
        writer.write_table(whole)
    return bytes(sink.getvalue().to_pybytes())


def from_ipc(value: bytes) -> pa.Table:
    """The inverse."""
    with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
        return reader.read_all()


class _Hash:
    """A file that only knows the hash of what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return len(data)

    def flush(self) -> None:
        """There is nothing behind it."""

    def close(self) -> None:
        self.closed = True

    @property
    def digest(self) -> str:
        """Of all that was written."""
        return self._hash.hexdigest()
