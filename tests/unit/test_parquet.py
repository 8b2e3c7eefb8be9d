"""Parquet files: planned by their row groups, read piece by piece, refused where they are damaged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from tests.support.engine import spec_of
from tidemill_api.errors import ColumnMissing, NewColumn, SourceChanged, SourceUnreadable, TidemillError
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker.engine.letters import Origin
from tidemill_worker.engine.model import Chunk
from tidemill_worker.engine.planning import chunks_of
from tidemill_worker.engine.stage import reader_of
from tidemill_worker.files.folder import Folder


def written(folder: Path, name: str, table: pa.Table, rows_a_group: int = 3) -> Path:
    pq.write_table(table, folder / name, row_group_size=rows_a_group)
    return folder / name


def spec(chunk: dict[str, Any] | None = None, **source: Any) -> DataPipelineSpec:
    files = {"path": "*.parquet", "format": {"parquet": {}}}
    execution = {"execution": {"chunk": chunk}} if chunk else {}
    return spec_of(source={"files": files} | source, **execution)


def planned(folder: Path, spec: DataPipelineSpec) -> tuple[Chunk, ...]:
    return chunks_of(spec, {"raw": Folder(folder)})


def read(folder: Path, spec: DataPipelineSpec, chunks: Sequence[Chunk], size: int = 1 << 20) -> list[dict[str, Any]]:
    """All good rows; every row must be accounted for, and pieces must have no gaps."""
    reader, found = reader_of(spec, "raw"), []
    for chunk in chunks:
        place = chunk.part.start
        with ExitStack() as stack:
            for piece in reader.open(stack, Folder(folder), chunk.part, place, size):
                assert (piece.offset, piece.bytes > 0) == (place, True)
                place = piece.end
                done = reader.read(piece, chunk.part.layout, Origin("raw", chunk.index, chunk.file))
                assert done.count is not None
                assert done.count.rows_in == done.count.rows_out + done.count.rejected == piece.lines
                assert (done.letters.num_rows if done.letters is not None else 0) == done.count.rejected
                found += done.batch.table.to_pylist()
        assert place == chunk.part.end
    return found


@given(rows=st.integers(0, 40), group=st.integers(1, 15), most=st.integers(1, 30), size=st.integers(1, 400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut_reads_every_row_once(tmp_path: Path, rows: int, group: int, most: int, size: int) -> None:
    table = pa.table({"n": pa.array(range(rows), pa.int64()), "t": [f"row {n}" for n in range(rows)]})
    written(tmp_path, "a.parquet", table, group)
    wanted = spec({"maxRows": most})
    chunks = planned(tmp_path, wanted)
    assert read(tmp_path, wanted, chunks, size) == table.to_pylist()
    assert all((chunk.part.end or 0) - chunk.part.start <= max(most, group) for chunk in chunks)
    assert all(chunk.part.first_line == chunk.part.start + 1 for chunk in chunks)
    if rows:
        assert all(chunk.part.end != chunk.part.start for chunk in chunks)


def test_chunks_are_bounded_by_bytes_too(tmp_path: Path) -> None:
    written(tmp_path, "a.parquet", pa.table({"t": [f"{n:0100}" for n in range(1000)]}), 10)
    chunks = planned(tmp_path, spec({"maxBytes": "16Ki"}))
    assert len(chunks) > 5
    assert all(chunk.bytes <= 16 << 10 for chunk in chunks)
    assert sum((chunk.part.end or 0) - chunk.part.start for chunk in chunks) == 1000


def test_declared_columns_go_by_name_and_only_they_are_read(tmp_path: Path) -> None:
    written(tmp_path, "a.parquet", pa.table({"x": ["a"], "Id Number": [1], "other": [[1]]}))
    written(tmp_path, "b.parquet", pa.table({"Id Number": ["2", "zwei"], "x": ["b", "c"]}))
    columns = [{"name": "id", "from": "Id Number", "type": "int32"}, {"name": "x", "type": "string"}]
    wanted = spec(columns=columns)
    assert read(tmp_path, wanted, planned(tmp_path, wanted)) == [{"id": 1, "x": "a"}, {"id": 2, "x": "b"}]


def test_types_are_those_that_all_files_fit_into(tmp_path: Path) -> None:
    written(tmp_path, "a.parquet", pa.table({"n": pa.array([1], pa.int16()), "t": [1.5], "l": [[1, None]]}))
    written(tmp_path, "b.parquet", pa.table({"n": pa.array([70_000], pa.int32()), "t": ["x"], "l": [[2, 3]], "m": [1]}))
    chunks = planned(tmp_path, spec())
    assert [(c.name, c.type) for c in chunks[0].part.layout.columns] == [
        ("n", "int32"), ("t", "string"), ("l", "string"),
    ]  # fmt: skip
    assert read(tmp_path, spec(), chunks) == [
        {"n": 1, "t": "1.5", "l": "[1, null]"},
        {"n": 70_000, "t": "x", "l": "[2, 3]"},
    ]


def test_names_with_points_are_names(tmp_path: Path) -> None:
    table = pa.table({"a": [{"b": 1}], "a.b": [2]})
    written(tmp_path, "a.parquet", table)
    wanted = spec(columns=[{"name": "flat", "from": "a.b", "type": "int32"}, {"name": "a", "type": "string"}])
    assert read(tmp_path, wanted, planned(tmp_path, wanted)) == [{"flat": 2, "a": '{"b": 1}'}]


REFUSED: dict[str, tuple[dict[str, pa.Table | bytes], dict[str, Any], type[TidemillError], str]] = {
    "no Parquet": ({"a.parquet": b"id,name\n1,x\n"}, {}, SourceUnreadable, "a.parquet can't be read as Parquet"),
    "empty": ({"a.parquet": b""}, {}, SourceUnreadable, "a.parquet can't be read as Parquet"),
    "no such column": (
        {"a.parquet": pa.table({"id": [1]})},
        {"columns": [{"name": "nr", "type": "int32"}]},
        ColumnMissing,
        "a.parquet has no column nr; it has id",
    ),
    "a column that not all have": (
        {"a.parquet": pa.table({"id": [1], "x": [1]}), "b.parquet": pa.table({"id": [1]})},
        {},
        ColumnMissing,
        "b.parquet has no column x",
    ),
    "a new column": (
        {"a.parquet": pa.table({"id": [1], "x": [1]})},
        {"columns": [{"name": "id", "type": "int32"}], "contract": {"newColumns": "Fail"}},
        NewColumn,
        "a.parquet has columns that aren't declared: x",
    ),
    "two columns of a name": (
        {"a.parquet": pa.table([pa.array([1]), pa.array([2])], names=["id", "id"])},
        {},
        SourceUnreadable,
        "a.parquet has more than one column id",
    ),
    "names that differ in case": (
        {"a.parquet": pa.table({"id": [1], "ID": [2]})},
        {},
        SourceUnreadable,
        "columns ID, id of a.parquet differ only in case",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_when_a_run_is_planned(tmp_path: Path, case: str) -> None:
    content, source, error, says = REFUSED[case]
    for name, table in content.items():
        if isinstance(table, bytes):
            (tmp_path / name).write_bytes(table)
        else:
            written(tmp_path, name, table)
    with pytest.raises(error, match=says):
        planned(tmp_path, spec(**source))


def test_a_file_that_changes_after_planning_is_told(tmp_path: Path) -> None:
    written(tmp_path, "a.parquet", pa.table({"id": [1]}))
    chunks = planned(tmp_path, spec())
    written(tmp_path, "a.parquet", pa.table({"id": [1, 2]}))
    with pytest.raises(SourceChanged):
        read(tmp_path, spec(), chunks)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(SourceChanged):
        read(tmp_path, spec(), chunks)


def test_damage_is_told_and_never_worse(tmp_path: Path) -> None:
    """Bytes changed or cut anywhere: the file is refused, or each of its rows is accounted for."""
    table = pa.table({"n": pa.array(range(200), pa.int64()), "t": [f"text {n % 7}" for n in range(200)]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=50, write_page_checksum=True)
    good, chance = path.read_bytes(), random.Random(7)
    refused = 0
    for _ in range(300):
        data = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.randrange(len(data))] if chance.random() < 0.2 else data)
        try:
            read(tmp_path, spec(), planned(tmp_path, spec()))
        except (SourceUnreadable, ColumnMissing):
            refused += 1
    assert refused > 200
