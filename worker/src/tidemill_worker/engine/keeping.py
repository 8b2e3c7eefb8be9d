"""What is kept of rejected rows, as `spec.deadLetter` says: all of it, keys only, nothing, some columns redacted. Pure.

Where it can't be told which part of a row is which column, nothing of the row is kept rather than too much.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Format, Parquet
from tidemill_api.v1alpha1.dead_letter import DeadLetter
from tidemill_worker.engine import letters as dead
from tidemill_worker.engine.dialect import format_of
from tidemill_worker.engine.model import Chunk, Layout, PlannedColumn
from tidemill_worker.engine.text_layout import TextLayout

REDACTED: Final = "[redacted]"

SCHEMA: Final = pa.schema(
    [
        *dead.SCHEMA,
        pa.field("row_keys", pa.string(), nullable=True),  # JSON object of the row's key columns
        pa.field("layout", pa.string(), nullable=True),  # how row_text is cut into columns: `TextLayout.id`
        pa.field("stored", pa.string(), nullable=False),  # Full, KeysOnly, None
        pa.field("redacted", pa.list_(pa.string()), nullable=False),
    ]
)


@dataclass(frozen=True)
class Keeping:
    """The rules of one pipeline, for the rows of one chunk."""

    policy: DeadLetter
    keys: frozenset[str]
    """Columns that are a primary key of a sink."""
    layouts: Mapping[tuple[str, str], TextLayout]
    """By source and file."""
    of_pages: Mapping[str, TextLayout] = field(default_factory=dict)
    """By source: of APIs, whose letters name pages."""

    def kept(self, letters: pa.Table) -> pa.Table:
        """Letters of `letters.SCHEMA` as they may be kept: `SCHEMA`."""
        found = zip(letters.column("source").to_pylist(), letters.column("file").to_pylist(), strict=True)
        layouts = [self.layouts.get(place) or self.of_pages.get(place[0]) for place in found]
        columns = {name: letters.column(name) for name in letters.column_names}
        count = letters.num_rows
        columns["row_keys"] = pa.nulls(count, pa.string())
        columns["layout"] = pa.array([each.id if each else None for each in layouts], pa.string())
        columns["stored"] = pa.repeat(pa.scalar(self.policy.store), count)
        columns["redacted"] = pa.array([list(self.policy.redact_columns)] * count, SCHEMA.field("redacted").type)
        if self.policy.store != "Full" or self.policy.redact_columns:
            columns["error"] = letters.column("cause")
            columns |= self._rows(letters, layouts)
        return pa.table([columns[field.name] for field in SCHEMA], schema=SCHEMA)

    def _rows(self, letters: pa.Table, layouts: Sequence[TextLayout | None]) -> dict[str, pa.Array]:
        kept: dict[str, list[str | None]] = {"row_text": [], "row_columns": [], "row_keys": []}
        texts, shown = letters.column("row_text").to_pylist(), letters.column("row_columns").to_pylist()
        for text, columns, layout in zip(texts, shown, layouts, strict=True):
            fields = layout.cut(text) if layout is not None and text is not None else None
            values = json.loads(columns) if columns is not None else None
            full = self.policy.store == "Full"
            kept["row_text"].append(layout.joined(self._masked(layout, fields)) if full and layout and fields else None)
            kept["row_columns"].append(_json(self._masked_values(values)) if full and values is not None else None)
            kept["row_keys"].append(self._keys(layout, fields, values) if self.policy.store == "KeysOnly" else None)
        return {name: pa.array(values, pa.string()) for name, values in kept.items()}

    def _masked(self, layout: TextLayout, fields: Sequence[Any]) -> list[Any]:
        """Without redacted columns, and without those whose names aren't known."""
        hidden = {None, *self.policy.redact_columns}
        return [REDACTED if name in hidden else field for name, field in zip(layout.columns, fields, strict=True)]

    def _masked_values(self, values: Mapping[str, object]) -> dict[str, object]:
        return {name: REDACTED if name in self.policy.redact_columns else value for name, value in values.items()}

    def _keys(
        self, layout: TextLayout | None, fields: Sequence[Any] | None, values: Mapping[str, object] | None
    ) -> str | None:
        if values is None and layout is not None and fields is not None:
            values = {name: field for name, field in zip(layout.columns, fields, strict=True) if name is not None}
        known = {name: value for name, value in (values or {}).items() if name in self.keys}
        return _json(self._masked_values(known)) if known else None


def keeping_of(spec: DataPipelineSpec, chunk: Chunk) -> Keeping:
    """The rules for all rows that a chunk may reject: its own, and those of the whole inputs that it reports."""
    formats = {source.name: format_of(source) for source in spec.sources}
    keys_of = {source.name: {c.name: c.from_ for c in source.columns if c.from_} for source in spec.sources}
    parts = [(chunk.source, chunk.part), *((name, part) for name, parts in chunk.broadcast for part in parts)]
    typed = Format(parquet=Parquet())  # as rows come that were kept between stages
    layouts = {
        (source, part.file.label): layout_of(part.layout, formats.get(source, typed), keys_of.get(source, {}))
        for source, part in parts
    }
    keys = frozenset(name for sink in spec.sinks for name in sink.primary_key)
    apis = {source: layouts[source, part.file.label] for source, part in parts if part.asked is not None}
    return Keeping(spec.dead_letter, keys, layouts, apis)


def layout_of(layout: Layout, form: Format, keys_of: Mapping[str, str]) -> TextLayout:
    """The column of each field of a row; of columns that read the same field, the first.

    `keys_of` has the keys of objects' columns that are called otherwise.
    """
    if form.csv is None:
        read = [c.name for c in layout.columns]
        keys = read if form.parquet is not None else [keys_of.get(name, name) for name in read]
        return TextLayout(tuple(read), "", "" if keys == read else _json(keys), tuple(c.type for c in layout.columns))
    found: dict[int, PlannedColumn] = {}
    for column in layout.columns:
        found.setdefault(column.field, column)
    fields = [found.get(index) for index in range(layout.fields)]
    names = tuple(column.name if column else None for column in fields)
    types = tuple(column.type if column else None for column in fields)
    return TextLayout(names, form.csv.delimiter, form.csv.quote, types)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
