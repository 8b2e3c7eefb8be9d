"""Where files of a data set are: partitions as folders, as Hive names them, and names that say whose a file is. Pure.

Source: Hive's `FileUtils.escapePathName`; Spark, Trino, Arrow and DuckDB read these names.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from tidemill_api.errors import SinkRefused
from tidemill_api.names import content_hash
from tidemill_worker.engine.model import RunRef
from tidemill_worker.files.writable import STAGED, STAGING

NONE: Final = "__HIVE_DEFAULT_PARTITION__"
"""Stands for no value, and for an empty text: a folder without a value is an error to Spark."""
MANIFEST: Final = "_manifest.json"
_ESCAPED: Final = frozenset({*map(chr, range(1, 0x20)), *"\"#%'*/:=?\\\x7f{[]^"})
_MOST_BYTES: Final = 255
"""Of a folder's name: what file systems take."""

Value = str | int | bool | dt.date | None


def partitionable(kind: pa.DataType) -> bool:
    """Whether values of a type can name folders, and be read from there as they were."""
    types = pa.types
    return (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_integer(kind)
        or types.is_boolean(kind)
        or types.is_date32(kind)
        or (types.is_dictionary(kind) and partitionable(kind.value_type))
    )


def text_of(value: Value) -> str | None:
    """A value as it stands in a folder's name, before it is escaped; None: there is none."""
    match value:
        case None | "":
            return None
        case bool():
            return "true" if value else "false"
        case dt.date():
            return value.isoformat()
        case _:
            return str(value)


def escaped(text: str) -> str:
    """A text without what can't stand in a folder's name."""
    return "".join(f"%{ord(sign):02X}" if sign in _ESCAPED else sign for sign in text)


def partition_folder(columns: Sequence[str], values: Sequence[str | None], sink: str) -> str:
    """`year=2013/month=1`; empty for a data set without partitions. Raises SinkRefused for a value that is too long."""
    parts = []
    for column, value in zip(columns, values, strict=True):
        part = f"{escaped(column)}={NONE if value is None else escaped(value)}"
        if len(part.encode()) > _MOST_BYTES:
            raise SinkRefused(
                f"sink {sink}: a value of the column {column} is too long to name a folder ({_MOST_BYTES} bytes with "
                "the column's name): partition by shorter ones"
            )
        parts.append(part)
    return "/".join(parts)


def staging_folder(folder: str, sink: str, uid: str, run_key: str, execution: int) -> str:
    """Where an execution's files are before they can be seen."""
    return f"{folder}/{STAGING}/{_whose(uid, run_key, sink)}/{execution}"


def file_name(run: RunRef, sink: str, chunk: int, part: int, number: int) -> str:
    """The name by which a file is seen, in its partition's folder: of no other run, execution or chunk."""
    return f"{_whose(run.uid, run.run_key, sink)}-{run.execution}-{chunk:08d}-{part:06d}-{number:04d}.parquet"


def staged_name(attempt: str, chunk: int, part: int, place: int) -> str:
    """The name of a file that can't be seen yet: of one attempt, so that two never write the same."""
    return f"{attempt}-{chunk:08d}-{part:06d}-{place:06d}{STAGED}"


def _whose(uid: str, run_key: str, sink: str) -> str:
    """What tells the files of a run and sink from all others."""
    return content_hash([uid, run_key, sink])[:20]
