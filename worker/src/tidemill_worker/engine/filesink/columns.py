"""The columns of written files: which Parquet type each of ours becomes. Pure.

The schema comes from the run's plan, never from rows: a chunk without a value in a column has the same type there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tidemill_api.errors import StepFailed, TableMismatch
from tidemill_api.v1alpha1.sink import WrittenFiles
from tidemill_worker.engine.filesink.folders import partitionable


@dataclass(frozen=True, slots=True)
class FileColumns:
    """The columns of a sink's rows, in files and in folders' names."""

    inside: pa.Schema
    """Those in the files, by the types that they have there."""
    partitions: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As the books keep it, to be compared with later runs."""
        return {
            "columns": {field.name: str(field.type) for field in self.inside},
            "partitionBy": list(self.partitions),
        }


def columns_of(name: str, files: WrittenFiles, schema: pa.Schema) -> FileColumns:
    """What is written of rows with these columns. Raises TableMismatch, StepFailed for what files can't hold."""
    for column in files.partition_by:
        place = schema.get_field_index(column)
        if place < 0:
            raise TableMismatch(
                f"sink {name}: files.partitionBy names {column}, which the rows don't have; they have "
                f"{', '.join(schema.names)}"
            )
        if not partitionable(schema.field(place).type):
            raise TableMismatch(
                f"sink {name}: files.partitionBy names {column}, which is a {schema.field(place).type}: folders can be "
                "named by texts, whole numbers, dates and booleans; cast it in a sql step, to a date say"
            )
    inside = [field for field in schema if field.name not in files.partition_by]
    if not inside:
        raise TableMismatch(f"sink {name}: files.partitionBy names all columns of the rows: nothing is left for files")
    return FileColumns(pa.schema([_written(name, field) for field in inside]), files.partition_by)


def _written(name: str, field: pa.Field) -> pa.Field:
    """A column as files hold it: its type without what only memory knows (dictionaries, views, units of seconds)."""
    return pa.field(field.name, _type(name, field.name, field.type))


def _type(sink: str, column: str, kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _type(sink, column, kind.storage_type)
    if types.is_dictionary(kind):
        return _type(sink, column, kind.value_type)
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_timestamp(kind):
        return pa.timestamp("ns" if kind.unit == "ns" else "us", "UTC" if kind.tz is not None else None)
    if types.is_time(kind):
        return pa.time64("ns" if kind.unit == "ns" else "us")
    if types.is_date64(kind):
        return pa.date32()
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(_type(sink, column, kind.value_type))
    if types.is_map(kind):
        return pa.map_(_type(sink, column, kind.key_type), _type(sink, column, kind.item_type))
    if types.is_struct(kind) and kind.num_fields:
        return pa.struct([pa.field(each.name, _type(sink, column, each.type)) for each in kind])
    if _kept(kind):
        return kind
    raise StepFailed(
        f"sink {sink}: the column {column} is a {kind}, which Parquet files can't hold: cast it in a sql step "
        "(::VARCHAR, say)"
    )


def _kept(kind: pa.DataType) -> bool:
    types = pa.types
    return any(
        (
            types.is_boolean(kind),
            types.is_integer(kind),
            types.is_floating(kind),
            types.is_decimal(kind),
            types.is_string(kind),
            types.is_binary(kind),
            types.is_fixed_size_binary(kind),
            types.is_date32(kind),
        )
    )


def mismatch(name: str, there: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Why rows can't be added to the files that are there, by what the books keep of both; None: they can.

    Columns may come and go: readers give no value where a file hasn't one.
    """
    if there["partitionBy"] != now["partitionBy"]:
        before = ", ".join(there["partitionBy"]) or "nothing"
        return (
            f"sink {name}: the files that are there are partitioned by {before}: readers can't read both; Replace the "
            "whole, or write to another path"
        )
    differing = [
        f"{column} is {kind} in the files that are there and {now['columns'][column]} now"
        for column, kind in there["columns"].items()
        if column in now["columns"] and now["columns"][column] != kind
    ]
    if differing:
        return (
            f"sink {name}: {'; '.join(differing)}: cast it in a sql step, Replace the whole, or write to another path"
        )
    return None
