"""Sinks that are files: data sets within each other, checks that nobody can measure, types that don't fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec, WorkerPoolSpec
from tidemill_api.v1alpha1.datapipeline import Sink, WrittenFiles
from tidemill_api.v1alpha1.workerpool import Connection
from tidemill_check.problem import Problem

_MEASURED: Final = ("rowCount", "rowsLoaded")
_NAMES_FOLDERS: Final = (
    *("VARCHAR", "BOOLEAN", "DATE", "TINYINT", "SMALLINT", "INTEGER", "BIGINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
)
_NO_PARQUET: Final = ("INTERVAL",)


def check_data_sets(spec: DataPipelineSpec) -> Iterator[Problem]:
    """What is wrong with sinks of files by themselves."""
    first: dict[str, list[Sink]] = {}
    for index, sink in enumerate(spec.sinks):
        if sink.files is None:
            continue
        others = first.setdefault(sink.connection, [])
        for other in others:
            yield from _apart(index, sink.target, other, other.target)
        others.append(sink)
    written = {sink.name for sink in spec.sinks if sink.files is not None}
    for index, check in enumerate(spec.checks):
        if check.sink in written and check.metric not in _MEASURED:
            message = (
                f"{check.metric} can't be measured of {check.sink}, which is files: nothing can be asked there before "
                "they are seen. rowCount and rowsLoaded can; or reject such rows by a rule of a validate step"
            )
            yield Problem(f"spec.checks[{index}].metric", conditions.INVALID_SPEC, message)


def check_places(spec: DataPipelineSpec, pool: WorkerPoolSpec) -> Iterator[Problem]:
    """Data sets that get into each other by two connections, which lead to one place."""
    urls = {each.name: each.files.url.rstrip("/") for each in pool.connections if each.files is not None}
    before: list[tuple[Sink, str]] = []
    for index, sink in enumerate(spec.sinks):
        if sink.files is None or sink.connection not in urls:
            continue
        place = f"{urls[sink.connection]}/{sink.target}"
        for other, there in before:
            if other.connection != sink.connection:
                yield from _apart(index, place, other, there)
        before.append((sink, place))


def _apart(index: int, place: str, other: Sink, there: str) -> Iterator[Problem]:
    if f"{place}/".startswith(f"{there}/") or f"{there}/".startswith(f"{place}/"):
        message = (
            f"{place} and {there}, where the sink {other.name} writes, are one within the other: readers would take "
            "them for one data set; each sink needs a folder of its own"
        )
        yield Problem(f"spec.sinks[{index}].files.path", conditions.INVALID_SPEC, message)


def granted(index: int, found: Connection) -> Problem | None:
    """Why the pool's connection can't be used by a sink of files; None: it can."""
    field = f"spec.sinks[{index}].connection"
    if found.files is None:
        kind = "postgres" if found.postgres is not None else "http"
        message = f"{found.name} is a {kind} connection: a sink of files needs a files connection"
        return Problem(field, conditions.UNKNOWN_CONNECTION, message)
    if found.files.access != "Write":
        message = (
            f"the pool gives {found.name} for reading only: a sink needs access: Write, which the pool's owner sets "
            f"(spec.connections of the WorkerPool, files.access)"
        )
        return Problem(field, conditions.CONNECTION_DENIED, message)
    return None


def unwritable(files: WrittenFiles, columns: Mapping[str, str]) -> Iterator[Problem]:
    """Columns (DuckDB's types) that can't name folders, or that Parquet can't hold; fields are those of the sink."""
    for place, name in enumerate(files.partition_by):
        kind = columns.get(name)
        if kind is not None and kind not in _NAMES_FOLDERS and not kind.startswith("ENUM("):
            message = (
                f"{name} is a {kind}: folders can be named by texts, whole numbers, dates and booleans; cast it in a "
                "sql step, to a date say"
            )
            yield Problem(f"files.partitionBy[{place}]", conditions.INVALID_SPEC, message)
    for name, kind in columns.items():
        if name not in files.partition_by and kind in _NO_PARQUET:
            message = f"the column {name} is a {kind}, which Parquet files can't hold: cast it (::VARCHAR, say)"
            yield Problem("input", conditions.INVALID_SPEC, message)
    if set(columns) <= set(files.partition_by):
        yield Problem("files.partitionBy", conditions.INVALID_SPEC, "names all columns: nothing is left for files")
