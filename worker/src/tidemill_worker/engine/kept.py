"""Rows of a source or step that a later stage reads: written as Parquet beside the sinks, in the same pass.

Each part of a chunk is a file, which is its own entry in the ledger: what the part counted stands in it, and it appears
whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import parquet as pq

from tidemill_api.errors import ArtifactGone, StepFailed
from tidemill_worker.engine.artifacts import Artifacts, Kept, node_folder
from tidemill_worker.engine.blocks import Block, Piece, Typed
from tidemill_worker.engine.columns import type_name
from tidemill_worker.engine.feed import in_thread
from tidemill_worker.engine.fit import TypedRows
from tidemill_worker.engine.letters import Origin, RowsOf
from tidemill_worker.engine.model import Chunk, Layout, Part, Place, PlannedColumn, RunRef
from tidemill_worker.engine.parquet import for_arrow
from tidemill_worker.engine.postgres import ledger
from tidemill_worker.engine.stage import Done
from tidemill_worker.engine.steps import Batch

GROUP_ROWS: Final = 1 << 16
GROUP_BYTES: Final = 8 << 20
"""Rows and bytes that are gathered before they are written; the most that a row group has. A later stage's chunks are
row groups, so these are no larger than chunks may be."""
_ENTRY: Final = b"tidemill"
"""Key in a file's metadata under which its entry stands."""


class ParquetWriting:
    """A file that is being written, by row groups of some size."""

    def __init__(
        self,
        stack: ExitStack,
        path: Path,
        schema: pa.Schema,
        node: str,
        most_rows: int = GROUP_ROWS,
        most_bytes: int = GROUP_BYTES,
    ) -> None:
        self.rows = 0
        self._most_rows = min(most_rows, GROUP_ROWS)
        self._most_bytes = min(most_bytes, GROUP_BYTES)
        self._schema = schema
        self._tables: list[pa.Table] = []
        try:
            self._writer = stack.enter_context(
                pq.ParquetWriter(str(path), schema, compression="zstd", write_page_checksum=True)
            )
        except pa.ArrowNotImplementedError as error:
            raise StepFailed(
                f"{node}: a column has a type that can't pass to a later stage ({error}); cast it before"
            ) from error

    def add(self, table: pa.Table) -> None:
        """Rows after those that were added before."""
        self.rows += table.num_rows
        self._tables.append(table if table.schema.equals(self._schema) else table.cast(self._schema))
        gathered = sum(each.num_rows for each in self._tables)
        if gathered >= GROUP_ROWS or sum(each.nbytes for each in self._tables) >= GROUP_BYTES:
            self._flush()

    def end(self, entry: dict[str, object]) -> None:
        """Write what is left, and the entry."""
        self._flush()
        self._writer.add_key_value_metadata({_ENTRY: json.dumps(entry).encode()})

    def _flush(self) -> None:
        tables, self._tables = self._tables, []
        rows = sum(each.num_rows for each in tables)
        if rows:
            table = pa.concat_tables(tables)
            by_bytes = int(self._most_bytes * rows / max(1, table.nbytes))
            self._writer.write_table(table, row_group_size=max(1, min(self._most_rows, by_bytes)))


@dataclass
class Keeper:
    """One part of a chunk into one file. Used like a sink's `Writer`."""

    store: Artifacts
    run: RunRef
    node: str
    chunk: int
    schema: pa.Schema
    _stack: ExitStack = field(default_factory=ExitStack)
    _file: tuple[Path, ParquetWriting, ExitStack] | None = None

    async def begin(self) -> None:
        """Begin a file. Raises ArtifactsUnavailable, StepFailed."""

        def begun() -> tuple[Path, ParquetWriting, ExitStack]:
            path = self._stack.enter_context(self.store.writing())
            closing = self._stack.enter_context(ExitStack())
            return path, ParquetWriting(closing, path, self.schema, self.node), closing

        self._file = await in_thread(begun)

    async def put(self, table: pa.Table) -> None:
        """Add rows."""
        _, writing, _ = self._begun()
        await in_thread(lambda: writing.add(table))

    async def commit(self, part: int, content: str, resume: ledger.Resume, *, last: bool) -> ledger.Entry:
        """Let the file appear; if there is one already, that one counts. Raises ArtifactsUnavailable."""
        path, writing, closing = self._begun()
        entry = ledger.Entry(part, self.run.execution, content, writing.rows, last, resume)
        name = f"{node_folder(self.run, self.node)}/{Kept(self.chunk, part, last).name}"

        def appear() -> None:
            writing.end({"content": content, "rows": writing.rows, "resume": resume.to_json()})
            closing.close()
            self.store.put(path, name)

        await in_thread(appear)
        return entry

    async def abort(self) -> None:
        """Leave nothing behind that isn't finished."""
        await in_thread(self._stack.close)

    def _begun(self) -> tuple[Path, ParquetWriting, ExitStack]:
        assert self._file is not None
        return self._file


def entries(store: Artifacts, run: RunRef, node: str, chunk: int) -> dict[int, ledger.Entry]:
    """What is kept of a chunk already, by part. Blocks."""
    found: dict[int, ledger.Entry] = {}
    folder = node_folder(run, node)
    while not found or not found[len(found) - 1].last:
        part = len(found)
        named = (Kept(chunk, part, last) for last in (True, False))
        each = next((kept for kept in named if store.has(f"{folder}/{kept.name}")), None)
        if each is None:
            break
        told = json.loads(_metadata(store, run, node, each).metadata[_ENTRY])
        resume = ledger.Resume.from_json(told["resume"])
        found[part] = ledger.Entry(part, run.execution, told["content"], told["rows"], each.last, resume)
    return found


def files_of(store: Artifacts, run: RunRef, node: str, first: int, count: int) -> list[Kept]:
    """The files that `count` chunks from `first` on have given so far, in the order of their rows. Blocks."""
    named = map(Kept.named, store.names(node_folder(run, node)))
    return [each for each in named if each is not None and first <= each.chunk < first + count]


def whole_files(store: Artifacts, run: RunRef, node: str, first: int, count: int) -> list[str]:
    """Names of all files that these chunks were to give. Blocks; raises ArtifactGone if one isn't there."""
    found = files_of(store, run, node, first, count)
    chunk, part = first, 0
    for each in found:
        if (each.chunk, each.part) != (chunk, part):
            break
        chunk, part = (chunk + 1, 0) if each.last else (chunk, part + 1)
    if chunk < first + count:
        raise ArtifactGone(f"rows of {node} that were kept for a later stage are gone: run the pipeline again")
    folder = node_folder(run, node)
    return [f"{folder}/{each.name}" for each in found]


def groups_of(store: Artifacts, name: str) -> list[tuple[int, int]]:
    """Rows and bytes of each row group of a file. Blocks."""
    with store.opened(name) as file:
        metadata = pq.read_metadata(for_arrow(file))
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return [(group.num_rows, group.total_byte_size) for group in groups]


def _metadata(store: Artifacts, run: RunRef, node: str, kept: Kept) -> pq.FileMetaData:
    with store.opened(f"{node_folder(run, node)}/{kept.name}") as file:
        return pq.read_metadata(for_arrow(file))


def read_whole(store: Artifacts, names: list[str]) -> pa.Table:
    """All rows of some files, in their order. Blocks; raises ArtifactGone."""
    tables = []
    for name in names:
        with store.opened(name) as file:
            tables.append(pq.ParquetFile(for_arrow(file)).read(use_threads=False))
    return pa.concat_tables(tables).replace_schema_metadata(None).combine_chunks()


@dataclass(frozen=True, slots=True)
class KeptReader:
    """Reads rows that were kept, as a source's `Reader` reads files: there is nothing left to go wrong with them."""

    name: str
    folder: str
    store: Artifacts
    columns: pa.Schema

    def schema(self, layout: Layout) -> pa.Schema:
        """See `Reads`."""
        del layout
        return self.columns

    def open(self, stack: ExitStack, place: Place | None, part: Part, offset: int, size: int) -> Iterator[Piece]:
        """See `Reads`."""
        del place
        held = stack.enter_context(self.store.opened(f"{self.folder}/{part.file.path}"))
        file = stack.enter_context(pq.ParquetFile(for_arrow(held), page_checksum_verification=True))
        return self._pieces(file, part, offset, size)

    def _pieces(self, file: pq.ParquetFile, part: Part, offset: int, size: int) -> Iterator[Piece]:
        end = file.metadata.num_rows if part.end is None else part.end
        place = 0
        for number in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            if place < end and place + rows > offset:
                table = file.read_row_group(number, use_threads=False).replace_schema_metadata(None)
                begin, stop = max(offset, place), min(end, place + rows)
                yield from _cut(table.slice(begin - place, stop - begin), begin, size)
            place += rows

    def read(self, piece: Piece, layout: Layout, origin: Origin) -> Done:
        """See `Reads`."""
        del layout, origin
        assert isinstance(piece, Typed)
        return Done(Batch(piece.table))

    def rows(self, piece: Block | Typed) -> RowsOf:
        """See `Reads`."""
        assert isinstance(piece, Typed)
        return TypedRows(piece)


def _cut(table: pa.Table, offset: int, size: int) -> Iterator[Typed]:
    rows = max(1, min(table.num_rows, int(size * table.num_rows / max(1, table.nbytes))))
    for place in range(0, table.num_rows, rows):
        piece = table.slice(place, rows)
        yield Typed(offset + place, piece, 0)  # no bytes of a source


def layout_of(schema: pa.Schema) -> Layout:
    """The columns as dead letters know them."""
    columns = (PlannedColumn(each.name, type_name(each.type), False, place) for place, each in enumerate(schema))
    return Layout(len(schema), tuple(columns))


def kept_reader(store: Artifacts, run: RunRef, chunk: Chunk) -> KeptReader:
    """The reader of a chunk over rows that were kept. Blocks; raises ArtifactGone."""
    folder = node_folder(run, chunk.source)
    return KeptReader(chunk.source, folder, store, schema_of_file(store, f"{folder}/{chunk.part.file.path}"))


def schema_of_file(store: Artifacts, name: str) -> pa.Schema:
    """The columns of a file. Blocks; raises ArtifactGone."""
    with store.opened(name) as file:
        return pq.read_schema(for_arrow(file)).remove_metadata()
