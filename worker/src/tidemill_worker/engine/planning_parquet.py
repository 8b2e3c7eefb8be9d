"""Parquet files: which columns are read as which types, and where files are cut into chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_worker.engine import parquet
from tidemill_worker.engine.columns import common_type, type_name
from tidemill_worker.engine.model import Part
from tidemill_worker.engine.wanted import Wanted, added, adds, by_name, declared, unknown
from tidemill_worker.files import FileRef, Files


@dataclass(frozen=True, slots=True)
class _Head:
    """What a file says of itself."""

    ref: FileRef
    schema: pa.Schema
    groups: tuple[tuple[int, int], ...]
    """Rows and bytes (uncompressed) of each row group."""

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.groups)


@dataclass(frozen=True, slots=True)
class ParquetPlanner:
    """Plans the Parquet files of one source."""

    source: Source
    place: Files

    def parts(self, refs: Sequence[FileRef]) -> tuple[Part, ...]:
        """Each of the files that has rows, or the first one if none has."""
        heads = [self._head(ref) for ref in refs]
        wanted = self._wanted(heads)
        layouts = {
            head.ref: by_name(self.source, head.ref.label, head.schema.names, wanted, surely=True) for head in heads
        }
        filled = [head for head in heads if head.rows] or heads[:1]
        return tuple(
            Part(head.ref, layouts[head.ref], 0, head.rows, 1, sum(size for _, size in head.groups)) for head in filled
        )

    def _wanted(self, heads: list[_Head]) -> tuple[Wanted, ...]:
        if not adds(self.source):
            return declared(self.source) or tuple(
                Wanted(name, name, kind, False) for name, kind in _types(heads[0].schema.names, heads).items()
            )
        return added(self.source, _types(unknown(self.source, (n for h in heads for n in h.schema.names)), heads))

    def cut(self, part: Part, most_bytes: int, most_rows: int) -> Iterator[Part]:
        """Some row groups each, and one at least."""
        start = rows = size = 0
        for more, bytes_ in self._head(part.file).groups:
            if rows and (rows + more > most_rows or size + bytes_ > most_bytes):
                yield replace(part, start=start, end=start + rows, first_line=start + 1, bytes=size)
                start, rows, size = start + rows, 0, 0
            rows, size = rows + more, size + bytes_
        yield replace(part, start=start, end=start + rows, first_line=start + 1, bytes=size)

    def _head(self, ref: FileRef) -> _Head:
        with parquet.opened(self.place, ref) as file:
            found = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            with parquet.readable(ref.label):
                schema = file.schema_arrow
            return _Head(ref, schema, tuple((group.num_rows, group.total_byte_size) for group in found))


def _types(names: Sequence[str], heads: list[_Head]) -> dict[str, str]:
    """Types of these columns that hold the values of all files."""
    found: dict[str, str] = {}
    for name in names:
        kinds = [head.schema.field(place).type for head in heads for place in head.schema.get_all_field_indices(name)]
        found[name] = common_type([type_name(kind) for kind in kinds])
    return found
