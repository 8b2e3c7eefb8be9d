"""Rows into files of partitions: what is held in memory and how many files are open is bounded, whatever the rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import parquet as pq

from tidemill_api.errors import SinkRefused
from tidemill_api.v1alpha1.sink import WrittenFiles
from tidemill_worker.engine.filesink.columns import FileColumns
from tidemill_worker.engine.filesink.folders import partition_folder, text_of

HELD_BYTES: Final = 16 << 20
"""Bytes of rows that wait for being written, over all partitions of a part of a chunk."""
OPEN: Final = 16
"""Files that are open at once. A partition whose file was closed for others goes on in another one."""
MOST_PARTITIONS: Final = 1024
"""Of a part of a chunk: more are a mistake, which would make a file of each row."""
LARGEST: Final = 1 << 30
"""Bytes after which a partition goes on in another file: stores copy no more than 5 GiB at once."""
_COMPRESSION: Final = {"Zstd": "zstd", "Snappy": "snappy", "Gzip": "gzip", "None": "none"}


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file, on the worker's disk."""

    path: Path
    folder: str
    """Of its partition: `year=2013/month=1`."""
    values: tuple[str | None, ...]
    """Of the partition, as texts."""
    number: int
    """Of the partition's files in this part of the chunk."""
    rows: int


@dataclass(slots=True)
class _Partition:
    folder: str
    values: tuple[str | None, ...]
    tables: list[pa.Table] = field(default_factory=list)
    bytes: int = 0
    number: int = 0
    path: Path | None = None
    writer: pq.ParquetWriter | None = None
    rows: int = 0


class Spreading:
    """Takes rows, and gives the files that they have become. Blocks; for one thread at a time."""

    def __init__(
        self,
        sink: str,
        files: WrittenFiles,
        columns: FileColumns,
        opened: Callable[[], AbstractContextManager[Path]],
        held_bytes: int = HELD_BYTES,
    ) -> None:
        """`opened` gives a new local file each time, which goes with `close`."""
        self._sink = sink
        self._format = files.format.parquet
        self._columns = columns
        self._opened = opened
        self._held = held_bytes
        self._stack = ExitStack()
        self._partitions: dict[str, _Partition] = {}
        self._open: OrderedDict[str, _Partition] = OrderedDict()
        self._done: list[Written] = []
        self._bytes = 0
        self.rows = 0

    def add(self, table: pa.Table) -> None:
        """Rows after those that were added before. Raises SinkRefused for partitions that can't be."""
        self.rows += table.num_rows
        for values, rows in self._split(table):
            if not rows.num_rows:
                continue
            partition = self._of(values)
            partition.tables.append(rows)
            partition.bytes += rows.nbytes
            self._bytes += rows.nbytes
        while self._bytes > self._held:
            self._flush(max(self._partitions.values(), key=lambda each: each.bytes))

    def end(self) -> list[Written]:
        """Write what is left, and close all files."""
        for partition in list(self._partitions.values()):
            self._flush(partition)
            self._end(partition)
        return self._done

    def close(self) -> None:
        """Remove what was written; it has been put where it belongs by now, or isn't wanted."""
        for partition in self._open.values():
            if partition.writer is not None:
                partition.writer.close()
        self._open.clear()
        self._stack.close()

    def _split(self, table: pa.Table) -> list[tuple[tuple[str | None, ...], pa.Table]]:
        """The rows of each partition, in their order, without the columns that its folder names."""
        inside = table.select(self._columns.inside.names).cast(self._columns.inside)
        names = self._columns.partitions
        if not names:
            return [((), inside)]
        keys = pa.Table.from_arrays([_plain(table.column(name)) for name in names], list(names))
        keys = keys.append_column("", pa.array(range(table.num_rows), pa.int64()))
        groups = keys.group_by(list(names), use_threads=False).aggregate([("", "list")])
        places = groups.column(len(names))
        values = zip(*(groups.column(place).to_pylist() for place in range(len(names))), strict=True)
        found: dict[tuple[str | None, ...], list[pa.Table]] = {}
        for group, key in enumerate(values):
            rows = inside if groups.num_rows == 1 else inside.take(places[group].values)
            found.setdefault(tuple(map(text_of, key)), []).append(rows)
        return [(key, pa.concat_tables(tables)) for key, tables in found.items()]

    def _of(self, values: tuple[str | None, ...]) -> _Partition:
        folder = partition_folder(self._columns.partitions, values, self._sink)
        if folder not in self._partitions:
            if len(self._partitions) >= MOST_PARTITIONS:
                raise SinkRefused(
                    f"sink {self._sink}: a chunk has rows of more than {MOST_PARTITIONS} partitions, each of which "
                    "would be a file: let files.partitionBy name columns with fewer values"
                )
            self._partitions[folder] = _Partition(folder, values)
        return self._partitions[folder]

    def _flush(self, partition: _Partition) -> None:
        tables, partition.tables = partition.tables, []
        self._bytes -= partition.bytes
        partition.bytes = 0
        if not tables:
            return
        writer = self._writer(partition)
        table = pa.concat_tables(tables)
        writer.write_table(table, row_group_size=self._format.row_group_rows)
        partition.rows += table.num_rows
        assert partition.path is not None
        if partition.path.stat().st_size > LARGEST:
            self._end(partition)

    def _writer(self, partition: _Partition) -> pq.ParquetWriter:
        if partition.writer is None:
            while len(self._open) >= OPEN:
                self._end(next(iter(self._open.values())))
            partition.path = self._stack.enter_context(self._opened())
            partition.writer = pq.ParquetWriter(
                str(partition.path),
                self._columns.inside,
                compression=_COMPRESSION[self._format.compression],
                store_schema=False,
                write_page_checksum=True,
            )
        self._open[partition.folder] = partition
        self._open.move_to_end(partition.folder)
        return partition.writer

    def _end(self, partition: _Partition) -> None:
        """Close its file, if one is open."""
        if partition.writer is None or partition.path is None:
            return
        partition.writer.close()
        self._open.pop(partition.folder, None)
        self._done.append(Written(partition.path, partition.folder, partition.values, partition.number, partition.rows))
        partition.writer, partition.path, partition.rows = None, None, 0
        partition.number += 1


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts as texts, however they are kept in memory: not all of them can be grouped by."""
    kind = column.type
    return (
        column
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_date(kind)
        else (column.cast(kind.value_type if pa.types.is_dictionary(kind) else pa.string()))
    )
