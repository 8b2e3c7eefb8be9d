"""Sinks that are files, as decisions: names of folders, types in files, how rows are spread over files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import dataset as ds
from pyarrow import parquet as pq

from tidemill_api.errors import SinkRefused, StepFailed, TableMismatch, TidemillError
from tidemill_api.v1alpha1.datapipeline import WrittenFiles
from tidemill_worker.engine.filesink import spreading
from tidemill_worker.engine.filesink.columns import columns_of, mismatch
from tidemill_worker.engine.filesink.folders import NONE, partition_folder, text_of
from tidemill_worker.engine.filesink.spreading import Spreading


def files(*partitions: str, **parquet: Any) -> WrittenFiles:
    return WrittenFiles.model_validate({"path": "out", "partitionBy": partitions, "format": {"parquet": parquet}})


@pytest.mark.parametrize(
    ("value", "folder"),
    [
        (2013, "p=2013"),
        (-1, "p=-1"),
        (True, "p=true"),
        (date(2013, 1, 9), "p=2013-01-09"),
        ("007", "p=007"),
        ("a/b\\c", "p=a%2Fb%5Cc"),
        ("50% = ?#", "p=50%25 %3D %3F%23"),
        ("x:y*[z]{^'\"", "p=x%3Ay%2A%5Bz%5D%7B%5E%27%22"),
        ("line\nend\x7f", "p=line%0Aend%7F"),
        ("..", "p=.."),
        ("Zürich 東京", "p=Zürich 東京"),
        (None, f"p={NONE}"),
        ("", f"p={NONE}"),
    ],
)
def test_names_of_folders(value: Any, folder: str, tmp_path: Path) -> None:
    assert partition_folder(["p"], [text_of(value)], "out") == folder
    (tmp_path / folder).mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / folder / "a.parquet")
    schema = pa.schema([("p", pa.string()), ("x", pa.int64())])
    read = ds.dataset(tmp_path, schema=schema, partitioning=ds.partitioning(schema.remove(1), flavor="hive"))
    assert read.to_table()["p"].to_pylist() == [text_of(value)]


def test_a_value_that_is_too_long_for_a_folder_is_not_quoted() -> None:
    with pytest.raises(SinkRefused, match="column p is too long") as refused:
        partition_folder(["p"], ["secret" * 50], "out")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "written"),
    [
        (pa.int16(), pa.int16()),
        (pa.uint64(), pa.uint64()),
        (pa.float32(), pa.float32()),
        (pa.bool_(), pa.bool_()),
        (pa.date32(), pa.date32()),
        (pa.date64(), pa.date32()),
        (pa.decimal128(38, 9), pa.decimal128(38, 9)),
        (pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("s"), pa.timestamp("us")),
        (pa.timestamp("ns"), pa.timestamp("ns")),
        (pa.timestamp("us", "Etc/UTC"), pa.timestamp("us", "UTC")),
        (pa.timestamp("ms", "Europe/Berlin"), pa.timestamp("us", "UTC")),
        (pa.time32("s"), pa.time64("us")),
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.dictionary(pa.uint8(), pa.string()), pa.string()),
        (pa.binary(), pa.binary()),
        (pa.list_(pa.large_string()), pa.list_(pa.string())),
        (pa.struct([("a", pa.date64())]), pa.struct([("a", pa.date32())])),
        (pa.map_(pa.string(), pa.int32()), pa.map_(pa.string(), pa.int32())),
        (pa.uuid(), pa.binary(16)),
    ],
    ids=str,
)
def test_types_in_files(rows: pa.DataType, written: pa.DataType, tmp_path: Path) -> None:
    """What is written is what is read, and a chunk without values has the same type as one with them."""
    columns = columns_of("out", files(), pa.schema([("x", rows)]))
    assert columns.inside.field("x").type == written
    with one(tmp_path, files(), columns_schema=pa.schema([("x", rows)])) as rest:
        rest.add(pa.table({"x": pa.nulls(2, rows)}))
        (made,) = rest.end()
        read = pq.read_schema(made.path).field("x").type
        assert read == written or str(read).replace("element", "item") == str(written)


@pytest.mark.parametrize(
    ("schema", "partitions", "error", "words"),
    [
        ({"x": pa.month_day_nano_interval()}, (), StepFailed, "column x is a month_day_nano_interval.* cast it"),
        ({"x": pa.struct([])}, (), StepFailed, "column x is a struct"),
        ({"x": pa.null()}, (), StepFailed, "column x is a null"),
        ({"x": pa.int32()}, ("y",), TableMismatch, "names y, which the rows don't have; they have x"),
        ({"x": pa.float64(), "z": pa.int8()}, ("x",), TableMismatch, "names x, which is a double"),
        ({"x": pa.timestamp("us"), "z": pa.int8()}, ("x",), TableMismatch, "cast it in a sql step, to a date"),
        ({"x": pa.int32()}, ("x",), TableMismatch, "names all columns"),
    ],
)
def test_what_files_can_not_hold(
    schema: dict[str, pa.DataType], partitions: tuple[str, ...], error: type[TidemillError], words: str
) -> None:
    with pytest.raises(error, match=words):
        columns_of("out", files(*partitions), pa.schema(schema))


def told(partitions: list[str], **columns: str) -> dict[str, Any]:
    return {"columns": columns, "partitionBy": partitions}


@pytest.mark.parametrize(
    ("there", "now", "words"),
    [
        (told([], a="int32"), told([], a="int32"), None),
        (told([], a="int32"), told([], a="int32", b="string"), None),
        (told([], a="int32", b="string"), told([], a="int32"), None),
        (told([], a="int32"), told([], a="string"), "a is int32 in the files that are there and string now"),
        (told(["d"], a="int32"), told(["e"], a="int32"), "partitioned by d"),
        (told([], a="int32"), told(["a"], b="int32"), "partitioned by nothing"),
    ],
)
def test_whether_rows_go_with_files_that_are_there(
    there: dict[str, Any], now: dict[str, Any], words: str | None
) -> None:
    why = mismatch("out", there, now)
    assert why is None if words is None else words in str(why)


@contextmanager
def one(folder: Path, written: WrittenFiles, columns_schema: pa.Schema, held: int = 1 << 20) -> Iterator[Spreading]:
    numbers = iter(range(10**6))

    @contextmanager
    def opened() -> Iterator[Path]:
        path = folder / f"{next(numbers)}"
        yield path
        path.unlink()

    made = Spreading("out", written, columns_of("out", written, columns_schema), opened, held)
    yield made
    made.close()
    assert list(folder.iterdir()) == []


KEYS = st.sampled_from(["a", "b", "", None, "a/ü", "c", "d", "e"])
ROWS = st.lists(st.tuples(KEYS, st.sampled_from([1, 2, None]), st.integers(0, 9)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 40), max_size=5), held=st.sampled_from([1, 100, 1 << 20]))
def test_rows_are_what_they_were_however_they_come(
    rows: list[tuple[str | None, int | None, int]], cuts: list[int], held: int
) -> None:
    """Any cut into blocks and any bound of memory gives the same rows of each partition, in their order."""
    schema = pa.schema([("k", pa.string()), ("n", pa.int32()), ("v", pa.int64())])
    borders = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    expected: dict[tuple[str | None, str | None], list[int]] = {}
    for key, number, value in rows:
        expected.setdefault((text_of(key), text_of(number)), []).append(value)
    found: dict[tuple[str | None, ...], list[int]] = {}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spreading, "OPEN", 2)
        with one(Path(folder), files("k", "n"), schema, held) as rest:
            for begin, end in pairwise(borders):
                columns = list(zip(*rows[begin:end], strict=True)) or [(), (), ()]
                rest.add(pa.table(list(map(pa.array, columns)), names=schema.names).cast(schema))
            ended = rest.end()
            assert rest.rows == len(rows) == sum(each.rows for each in ended)
            for each in sorted(ended, key=lambda each: each.number):
                table = pq.read_table(each.path)
                assert table.column_names == ["v"]
                found.setdefault(each.values, []).extend(table["v"].to_pylist())
            names = [(each.folder, each.number) for each in ended]
            assert len(set(names)) == len(names)
    assert found == expected


def test_a_partition_whose_file_was_closed_goes_on_in_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreading, "OPEN", 2)
    schema = pa.schema([("k", pa.string()), ("v", pa.int64())])
    with one(tmp_path, files("k"), schema, held=1) as rest:
        for place, key in enumerate("abcaab"):
            rest.add(pa.table({"k": [key], "v": [place]}, schema=schema))
        ended = rest.end()
        found = {(each.folder, each.number): pq.read_table(each.path)["v"].to_pylist() for each in ended}
    assert found == {("k=a", 0): [0], ("k=b", 0): [1], ("k=c", 0): [2], ("k=a", 1): [3, 4], ("k=b", 1): [5]}


def test_more_partitions_than_anybody_means_are_refused(tmp_path: Path) -> None:
    schema = pa.schema([("k", pa.int64()), ("v", pa.int64())])
    with one(tmp_path, files("k"), schema) as rest, pytest.raises(SinkRefused, match="more than 1024 partitions"):
        rest.add(pa.table({"k": range(1025), "v": range(1025)}))


def test_row_groups_and_compression(tmp_path: Path) -> None:
    schema = pa.schema([("v", pa.int64())])
    for name, known in (("Zstd", "ZSTD"), ("Snappy", "SNAPPY"), ("Gzip", "GZIP"), ("None", "UNCOMPRESSED")):
        with one(tmp_path, files(compression=name, rowGroupRows=1000), schema) as rest:
            rest.add(pa.table({"v": range(2500)}))
            metadata = pq.read_metadata(rest.end()[0].path)
            assert [metadata.row_group(each).num_rows for each in range(3)] == [1000, 1000, 500]
            assert metadata.row_group(0).column(0).compression == known
