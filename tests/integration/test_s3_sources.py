"""Sources in a bucket of a real S3 server: each format, cut by ranges, under outages, and as it was planned or not."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from tests.support.commands import tidemill
from tests.support.engine import RUN, World, database_pool, spec_of
from tests.support.fixtures import Database, unique
from tests.support.flights import AIRLINES, FLIGHTS, PIPELINE, POOL
from tests.support.s3 import KEYS, REGION, Answer, Cut, Fault, S3Server, proxy, put
from tidemill_api.errors import (
    BucketMissing,
    ConfigError,
    SourceChanged,
    SourceMissing,
    SourceUnreadable,
    StoreDenied,
    StoreThrottled,
    StoreUnavailable,
    TidemillError,
)
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec, FileSource
from tidemill_worker.connections.s3 import client as s3_client
from tidemill_worker.connections.s3.client import Client
from tidemill_worker.connections.s3.objects import Objects
from tidemill_worker.engine import files
from tidemill_worker.engine.incremental import KnownFiles
from tidemill_worker.engine.planning import chunks_of
from tidemill_worker.engine.rehearsal import NodeFailed, Rehearsal
from tidemill_worker.engine.stage import reader_of

COLUMNS = [{"name": "id", "type": "int32", "required": True}, {"name": "name", "type": "string"}]
CSV = "id,name\n" + "".join(f'{n},"n, {n}"\n' for n in range(20)) + "x,bad\n"
LINES = "".join(json.dumps({"id": n, "name": f"n, {n}"}) + "\n" for n in range(20)) + '{"id": "x", "name": "bad"}\n'


def zipped(**members: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return data.getvalue()


def zstd(text: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(text.encode())
    return bytes(sink.getvalue().to_pybytes())


def parquet(rows: int, bad: bool = True, groups: int = 4) -> bytes:
    ids = [*range(rows), *([2**40] if bad else [])]
    data = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array(ids, pa.int64()), "name": [f"n, {n}" for n in ids]}), data, groups)
    return data.getvalue()


@pytest.fixture
def bucket(s3_server: S3Server) -> Client:
    return s3_server.bucket(unique("b-"))


@pytest.fixture
async def world(database: Database, tmp_path: Path, bucket: Client) -> AsyncIterator[World]:
    pool = await database_pool(database.dsn)
    yield World(tmp_path, pool, place=Objects(bucket))
    pool.terminate()


def source(path: str, **format_: Any) -> dict[str, Any]:
    return {"files": {"path": path, "format": format_ or {"csv": {}}}, "columns": COLUMNS}


async def test_each_format_gives_all_its_rows_or_their_letters(world: World, bucket: Client) -> None:
    array = f"[{','.join(LINES.splitlines())}]"
    kinds: dict[str, tuple[bytes | str, dict[str, Any]]] = {
        "a.csv": (CSV, {"csv": {}}),
        "a.csv.gz": (gzip.compress(CSV.encode()), {"csv": {}}),
        "a.csv.zst": (zstd(CSV), {"csv": {}}),
        "a.zip": (zipped(a=CSV, b=CSV), {"csv": {}}),
        "u.csv": (CSV.encode("utf-16"), {"csv": {"encoding": "utf-16"}}),
        "a.jsonl": (LINES, {"jsonLines": {}}),
        "a.json": (array, {"json": {}}),
        "a.parquet": (parquet(20), {"parquet": {}}),
    }
    for name, (data, _) in kinds.items():
        put(bucket, f"in/{name}", data)
    spec = spec_of(
        sources=[
            {"name": f"s{n}", "connection": "landing"} | source(f"in/{name}", **form)
            for n, (name, (_, form)) in enumerate(kinds.items())
        ],
        sinks=[
            {
                "name": f"o{n}",
                "input": f"s{n}",
                "connection": "warehouse",
                "postgres": {"table": f"public.o{n}"},
                "writeDisposition": "Append",
            }
            for n in range(len(kinds))
        ],
        execution={"chunk": {"maxRows": 6}},
    )
    done = await world.run(spec)
    for n, name in enumerate(kinds):
        times = 2 if name == "a.zip" else 1
        assert done.steps[f"s{n}"] == (21 * times, 20 * times, times, 0), name
        assert await world.fetch(f"SELECT count(*), count(DISTINCT name) FROM public.o{n}") == [(20 * times, 20)], name
    assert len(world.letters.all()) == len(kinds) + 1


TEXTS = st.text(st.sampled_from('abc1,"\n\r\té\0'), max_size=60)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=2), lines=st.booleans())
def test_whatever_objects_hold_is_read_as_files_are_and_in_is_out_and_rejected(
    s3_server: S3Server, bucket: Client, tmp_path_factory: pytest.TempPathFactory, texts: list[str], lines: bool
) -> None:
    folder, below = tmp_path_factory.mktemp("same"), unique()
    for n, text in enumerate(texts):
        data = (LINES[:60] + text if lines else f"id,name\n1,a\n{text}").encode()
        (folder / f"{n}.txt").write_bytes(data)
        put(bucket, f"{below}/{n}.txt", data)
    place = Objects(s3_server.client(bucket.bucket.name, below))
    spec = spec_of(source=source("*.txt", **({"jsonLines": {}} if lines else {"csv": {}})))
    here = Rehearsal(spec, {}, RUN.run_time, {"raw": folder})
    there = Rehearsal(spec, {}, RUN.run_time, {"raw": place})
    errors = []
    for rehearsal in (here, there):
        try:
            rehearsal.run()
            errors.append("")
        except NodeFailed as error:  # whatever it is: it must be the same
            errors.append(f"{type(error).__name__} {error}")
    assert errors[0] == errors[1]
    if not errors[0]:
        assert here.seen["raw"].table == there.seen["raw"].table
        assert here.seen["raw"].rejected == there.seen["raw"].rejected
        count = there.seen["raw"].count
        assert count is not None
        assert count == here.seen["raw"].count
        assert count.rows_in == count.rows_out + count.rejected + count.skipped


def test_names_are_matched_page_by_page(s3_server: S3Server, bucket: Client) -> None:
    names = ["a b+c%.csv", "d/ü=1/x.csv", "d/ü=2/x.csv", "d/.tidemill/x.csv", "d/e/f/g.csv", "z.csv.gz", "&<>'.csv"]
    for name in names:
        put(bucket, f"below/{name}", "id\n1\n")
    put(bucket, "below/d/", "")
    put(bucket, "other.csv", "id\n1\n")
    place = Objects(s3_server.client(bucket.bucket.name, "below/"))
    for pattern, wanted in (
        ("*.csv", ["&<>'.csv", "a b+c%.csv"]),
        ("**/*.csv", ["&<>'.csv", "a b+c%.csv", "d/e/f/g.csv", "d/ü=1/x.csv", "d/ü=2/x.csv"]),
        ("d/ü=?/*", ["d/ü=1/x.csv", "d/ü=2/x.csv"]),
        ("d/**", ["d/e/f/g.csv", "d/ü=1/x.csv", "d/ü=2/x.csv"]),
        ("a b+c%.csv", ["a b+c%.csv"]),
        ("z.csv", []),
        ("nothing/*", []),
        ("./d//e/f/g.csv", ["d/e/f/g.csv"]),
    ):
        assert [ref.path for ref in place.matching(pattern)] == wanted, pattern
    [ref] = place.matching("d/e/f/g.csv")
    assert (ref.size, ref.member) == (5, None)
    assert ref.etag is not None
    assert abs(ref.mtime_ns / 1e9 - datetime.now(UTC).timestamp()) < 600
    with pytest.raises(SourceMissing, match=r"\*\* stands for whole folders only"):
        place.matching("a**.csv")
    with pytest.raises(SourceMissing, match="no file matches q/"):
        files.find(place, FileSource.model_validate({"path": "q/*", "format": {"csv": {}}}))


def test_many_pages_of_a_listing(s3_server: S3Server, bucket: Client) -> None:
    for n in range(5):
        put(bucket, f"{n}.csv", "id\n1\n")
    with proxy(s3_server) as between:
        client = s3_server.client(bucket.bucket.name, endpoint=between.address)
        small = PagesOfTwo(client.bucket, client.keys, 1)
        assert [ref.path for ref in Objects(small).matching("*.csv")] == [f"{n}.csv" for n in range(5)]
        small.close()
        assert len(between.heads) == 3


class PagesOfTwo(Client):
    """Asks for small pages."""

    def ask(self, method: str, key: str = "", *, query: Any = (), **others: Any) -> Any:
        return super().ask(method, key, query=[*query, ("max-keys", "2")], **others)


async def test_one_large_object_is_cut_and_each_chunk_reads_its_range_only(
    world: World, bucket: Client, s3_server: S3Server
) -> None:
    text = "id,name\n" + "".join(f'{n},"n\n{n}"\n' for n in range(20_000))
    put(bucket, "big.csv", text)
    with proxy(s3_server) as between:
        world.place = Objects(s3_server.client(bucket.bucket.name, endpoint=between.address))
        spec = spec_of(source=source("big.csv"), execution={"chunk": {"maxBytes": "64Ki"}})
        chunks = await world.plan(spec)
        assert len(chunks) > 4
        assert all(chunk.bytes <= 1 << 17 for chunk in chunks)
        before = between.sent
        await world.load(spec, chunks[2], chunks)
        assert between.sent - before < chunks[2].bytes + 10_000
    world.place = Objects(bucket)
    done = await world.run(spec)
    assert (done.steps["raw"], done.chunks) == ((20_000, 20_000, 0, 0), len(chunks))


def test_a_column_of_parquet_is_a_fraction_of_the_object(s3_server: S3Server, bucket: Client) -> None:
    data = io.BytesIO()
    wide = pa.table({"id": range(1000), "name": ["x" * 900 + str(n) for n in range(1000)]})
    pq.write_table(wide, data, 100, compression="none", use_dictionary=False)
    put(bucket, "a.parquet", data.getvalue())
    with proxy(s3_server) as between:
        place = Objects(s3_server.client(bucket.bucket.name, endpoint=between.address))
        spec = spec_of(source=source("*.parquet", parquet={}) | {"columns": COLUMNS[:1]})
        rehearsal = Rehearsal(spec, {}, RUN.run_time, {"raw": place})
        rehearsal.run()
        assert rehearsal.seen["raw"].rows == 1000
        assert between.sent < len(data.getvalue()) / 2


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "zip", "parquet"])
@pytest.mark.parametrize("change", ["other", "gone"])
def test_an_object_that_is_another_one_by_now(bucket: Client, kind: str, change: str) -> None:
    of: dict[str, Callable[[int], bytes]] = {
        "csv": lambda n: f"id,name\n{n},a\n".encode(),
        "csv.gz": lambda n: gzip.compress(f"id,name\n{n},a\n".encode()),
        "zip": lambda n: zipped(a=f"id,name\n{n},a\n"),
        "parquet": lambda n: parquet(n, bad=False),
    }
    form: dict[str, Any] = {"parquet": {}} if kind == "parquet" else {"csv": {}}
    put(bucket, f"a.{kind}", of[kind](1))
    spec, place = spec_of(source=source("a.*", **form)), Objects(bucket)
    [chunk] = chunks_of(spec, {"raw": place})
    if change == "gone":
        bucket.ask("DELETE", f"a.{kind}")
    else:
        put(bucket, f"a.{kind}", of[kind](2))
    reader = reader_of(spec, "raw")
    with pytest.raises(SourceChanged, match=f"a.{kind} (has changed|was there when)"), ExitStack() as stack:
        list(reader.open(stack, place, chunk.part, chunk.part.start, 1 << 20))


async def test_nothing_is_loaded_of_an_object_that_changes_before_its_end(world: World, bucket: Client) -> None:
    put(bucket, "a.csv", "id,name\n1,a\n")
    spec = spec_of(source=source("a.csv"))
    chunks = await world.plan(spec)
    put(bucket, "a.csv", "id,name\n2,a\n")
    with pytest.raises(SourceChanged, match=r"a\.csv has changed"):
        await world.load(spec, chunks[0], chunks)
    assert await world.fetch("SELECT count(*) FROM tidemill.ledger") == [(0,)]


def test_an_object_that_changes_while_it_is_read(bucket: Client) -> None:
    put(bucket, "a.csv", b"1" * (4 << 20))
    place = Objects(bucket)
    [ref] = place.matching("a.csv")
    with place.held(ref) as stream:
        assert stream.read(10) == b"1" * 10
        put(bucket, "a.csv", b"2" * (4 << 20))
        with pytest.raises(SourceChanged):
            stream.read(10)
    with pytest.raises(SourceChanged), place.opened(ref) as stream:
        stream.read(1)
    with pytest.raises(SourceChanged), place.opened(replace(ref, etag=None, size=1 << 23)) as stream:
        stream.read(1 << 23)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_WAITS", (0.0,))


def first(times: int, fault: Fault, of: str = "") -> Callable[[str], Fault]:
    left = [times]

    def faults(head: str) -> Fault:
        if of in head and left[0]:
            left[0] -= 1
            return fault
        return None

    return faults


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "faults",
    [
        first(2, Answer(503, "SlowDown")),
        first(2, Answer(500, "InternalError")),
        first(1, Cut(0)),
        first(2, Cut(300), of="GET /"),
        first(3, Cut(1 << 20), of="range"),
    ],
)
def test_what_passes_is_tried_again_and_costs_no_row(
    bucket: Client, s3_server: S3Server, faults: Callable[[str], Fault]
) -> None:
    put(bucket, "a.csv", "id,name\n" + "".join(f"{n},{'x' * 90}{n}\n" for n in range(30_000)))
    with proxy(s3_server, faults) as between:
        place = Objects(s3_server.client(bucket.bucket.name, endpoint=between.address))
        rehearsal = Rehearsal(spec_of(source=source("*.csv")), {}, RUN.run_time, {"raw": place})
        rehearsal.run()
    assert rehearsal.seen["raw"].table.column("id").to_pylist() == list(range(30_000))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Answer(503, "SlowDown"), StoreThrottled, "asks for fewer requests"),
        (Answer(500, "InternalError"), StoreUnavailable, r"the store fails \(500 InternalError\)"),
        (Cut(0), StoreUnavailable, "can't be reached, or breaks off"),
        (Cut(300), StoreUnavailable, "can't be reached, or breaks off"),
        (Answer(403, "AccessDenied"), StoreDenied, r"files\.secretRef: the keys don't allow GET of the bucket b-"),
        (
            Answer(301, "PermanentRedirect", "x-amz-bucket-region: eu-west-3\r\n"), ConfigError,
            r"files\.region: the bucket is in the region eu-west-3, not in eu-central-1",
        ),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_a_typed_error(
    s3_server: S3Server, bucket: Client, fault: Fault, kind: type[TidemillError], words: str
) -> None:
    with proxy(s3_server, lambda _head: fault) as between:
        place = Objects(s3_server.client(bucket.bucket.name, endpoint=between.address))
        with pytest.raises(kind, match=words) as caught:
            place.matching("*.csv")
    assert type(caught.value) is kind
    assert str(caught.value).startswith("connections.landing.files")
    assert "secret" not in str(caught.value).replace("secretRef", "")
    assert KEYS["AWS_ACCESS_KEY_ID"] not in str(caught.value)
    tries = len(between.heads)
    assert tries == (4 if caught.value.retryable else 1)


@pytest.mark.usefixtures("at_once")
def test_a_store_that_is_down_and_one_that_is_not_what_the_connection_says(s3_server: S3Server, bucket: Client) -> None:
    nobody = Objects(s3_server.client(bucket.bucket.name, endpoint="http://127.0.0.1:9"))
    with pytest.raises(StoreUnavailable, match=r"connections\.landing\.files: the store can't be reached"):
        nobody.matching("*.csv")
    with pytest.raises(BucketMissing, match=r"connections\.landing\.files\.url: the store has no bucket no-such"):
        Objects(s3_server.client("no-such")).matching("*.csv")
    for file in (s3_server.secrets / "landing-s3").iterdir():
        other = s3_server.secrets / "others" / file.name
        other.parent.mkdir(exist_ok=True)
        other.write_text("wrong" if "SECRET" in file.name else file.read_text())
    from tidemill_worker.connections.s3.credentials import mounted

    denied = Objects(Client(bucket.bucket, mounted(s3_server.secrets, "others")))
    with pytest.raises(StoreDenied, match=r"the store refuses the keys \(403 SignatureDoesNotMatch"):
        denied.matching("*.csv")
    denied.close()


@pytest.mark.parametrize(
    ("name", "data", "form"),
    [
        ("a.csv.gz", b"no gzip", {"csv": {}}),
        ("a.csv.gz", gzip.compress(CSV.encode() * 99)[:-20], {"csv": {}}),
        ("a.csv.zst", b"no zstd", {"csv": {}}),
        ("a.zip", b"no zip", {"csv": {}}),
        ("a.parquet", b"no parquet at all", {"parquet": {}}),
        ("a.parquet", parquet(20)[:-9], {"parquet": {}}),
        ("a.json", b'[{"id": 1}', {"json": {}}),
    ],
)
def test_a_damaged_object_is_unreadable(bucket: Client, name: str, data: bytes, form: dict[str, Any]) -> None:
    put(bucket, name, data)
    spec = spec_of(source=source(name, **form))
    rehearsal = Rehearsal(spec, {}, RUN.run_time, {"raw": Objects(bucket)})
    with pytest.raises(NodeFailed, match=name) as caught:
        rehearsal.run()
    assert isinstance(caught.value.error, SourceUnreadable)


def test_only_new_objects_are_planned(bucket: Client) -> None:
    for name in ("a", "b"):
        put(bucket, f"{name}.csv", "id,name\n1,a\n")
    place = Objects(bucket)
    known = {ref.path: (ref.size, ref.mtime_ns) for ref in place.matching("*.csv")}
    spec: DataPipelineSpec = spec_of(source=source("*.csv") | {"incremental": {"by": "Name"}})

    def planned(by: str) -> Iterator[str]:
        return (chunk.file for chunk in chunks_of(spec, {"raw": place}, {"raw": KnownFiles(by, known)}))

    assert list(planned("Name")) == []
    put(bucket, "c.csv", "id,name\n1,a\n")
    put(bucket, "a.csv", "id,name\n1,a\n2,b\n")
    assert list(planned("Name")) == ["c.csv"]
    assert list(planned("ModifiedTime")) == ["a.csv", "c.csv"]


def test_preview_reads_a_bucket_with_ones_own_keys(s3_server: S3Server, bucket: Client, tmp_path: Path) -> None:
    for name, text in (("flights.csv", FLIGHTS), ("airlines.csv", AIRLINES)):
        put(bucket, f"in/{name}", text)
    target = f'{{url: "s3://{bucket.bucket.name}/in/", endpoint: "http://{s3_server.address}", region: {REGION}}}'
    for name, text in (
        ("pool.yaml", POOL),
        ("pipeline.yaml", PIPELINE),
        ("tidemill.dev.yaml", f"connections: {{landing: {{s3: {target}}}}}\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    said = tidemill("preview", tmp_path, environment=KEYS)
    assert said.code == 0, said
    assert "raw (source)  5 in, 4 out, 1 rejected" in said.out
    wrong = tidemill("preview", tmp_path, environment={**KEYS, "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert wrong.code != 0
    assert "connections.landing.files.secretRef: the store refuses the keys (403 SignatureDoesNotMatch)" in str(wrong)
