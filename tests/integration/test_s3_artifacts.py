"""What passes between stages, kept in a bucket of a real S3 server; and a whole run whose files are all there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import unique
from tests.support.s3 import KEYS, SECRET, Answer, S3Server, keys, proxy, put
from tests.support.worker import Pool, Runs
from tidemill_api.errors import ArtifactGone, ArtifactsUnavailable, StoreDenied
from tidemill_worker.connections.s3 import client as s3_client
from tidemill_worker.connections.s3 import uploads
from tidemill_worker.connections.s3.artifacts import ObjectArtifacts
from tidemill_worker.connections.s3.client import Client


@pytest.fixture
def bucket(s3_server: S3Server) -> Client:
    return s3_server.bucket(unique("b-"))


@pytest.fixture
def place(s3_server: S3Server, bucket: Client) -> ObjectArtifacts:
    put(bucket, "stages.txt", "none of ours")
    return ObjectArtifacts(s3_server.client(bucket.bucket.name, "stages/"))


def keep(place: ObjectArtifacts, name: str, content: bytes) -> None:
    with place.writing() as path:
        path.write_bytes(content)
        place.put(path, name)
    assert not path.exists()


@pytest.mark.parametrize("length", [3, 11 << 20])
def test_what_is_there_first_stays_and_goes_with_its_run(
    place: ObjectArtifacts, bucket: Client, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(uploads, "PART", 5 << 20)  # the least that S3 takes
    first = b"1" * length + b"PAR1"
    keep(place, "u%2F/k/1/valid/a", first)
    keep(place, "u%2F/k/1/valid/a", b"2" * len(first))
    keep(place, "u%2F/k/1/valid/b", b"")
    keep(place, "u%2F/k/2/valid/a", b"x")
    assert place.names("u%2F/k/1/valid") == ["a", "b"]
    assert place.names("u%2F/k/1") == []
    assert [place.has(f"u%2F/k/1/valid/{name}") for name in ("a", "b", "c", "")] == [True, True, False, False]
    with place.held("u%2F/k/1/valid/a") as path:
        assert path.read_bytes() == first
    assert not path.exists()
    with place.opened("u%2F/k/1/valid/a") as stream:
        stream.seek(-4, 2)
        assert (stream.read(), stream.tell()) == (b"PAR1", len(first))
    found = place.folders()
    assert [path for path, _ in found] == ["u%2F/k/1", "u%2F/k/2"]
    assert all(abs(changed - time.time()) < 600 for _, changed in found)
    place.drop("u%2F/k/1")
    place.drop("u%2F/k/1")
    assert keys(bucket) == ["stages.txt", "stages/u%2F/k/2/valid/a"]
    for gone in (place.held, place.opened):
        with pytest.raises(ArtifactGone, match="run the pipeline again"), gone("u%2F/k/1/valid/a"):
            pass


def test_an_upload_that_nobody_ends_is_ended_in_time(
    place: ObjectArtifacts, s3_server: S3Server, bucket: Client
) -> None:
    client = s3_server.client(bucket.bucket.name, "stages")
    client.ask("POST", "u/k/1/valid/a", query=[("uploads", "")])
    bucket.ask("POST", "other", query=[("uploads", "")])

    def unfinished() -> int:
        return bucket.ask("GET", query=[("uploads", "")]).body.count(b"<UploadId>")

    place.drop_unfinished(time.time() - 600)
    assert unfinished() == 2
    place.drop_unfinished(time.time() + 600)
    assert unfinished() == 1
    assert not place.has("u/k/1/valid/a")


def test_an_outage_is_one_of_artifacts_and_a_failed_upload_leaves_nothing(
    s3_server: S3Server, bucket: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "_WAITS", (0.0,))
    monkeypatch.setattr(uploads, "PART", 5 << 20)

    def faults(head: str) -> Answer | None:
        if "partNumber=2" in head:
            return Answer(500, "InternalError")
        return Answer(403, "AccessDenied") if head.startswith("HEAD") else None

    with proxy(s3_server, faults) as between:
        place = ObjectArtifacts(s3_server.client(bucket.bucket.name, "stages", between.address))
        with pytest.raises(ArtifactsUnavailable, match=r"connections\.landing\.files: the store fails") as caught:
            keep(place, "u/k/1/valid/a", b"1" * (11 << 20))
        assert caught.value.retryable
        with pytest.raises(StoreDenied):
            place.has("u/k/1/valid/a")
    assert bucket.ask("GET", query=[("uploads", "")]).body.count(b"<UploadId>") == 0


async def test_a_run_whose_files_and_stages_are_in_a_bucket(
    s3_server: S3Server, bucket: Client, pool: Pool, runs: Runs
) -> None:
    secret = pool.secrets / SECRET
    secret.mkdir(parents=True)
    for key, value in KEYS.items():
        (secret / key).write_text(value)
    files = s3_server.connection(bucket.bucket.name, "in/").model_dump(by_alias=True, exclude_none=True)
    warehouse = {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}}
    connections = [{"name": "landing", "files": files}, warehouse]
    pool.write(connections=connections, artifacts={"connection": "landing", "path": ".tidemill/"})
    worker = pool.start()
    for name, first in (("a", 0), ("b", 1000)):
        put(bucket, f"in/2026/{name}.csv", "id\n" + "".join(f"{n}\n" for n in range(first, first + 1000)) + "x\n")
    source = {"path": "{parameters.year}/*.csv", "format": {"csv": {}}}
    spec: dict[str, Any] = {
        "workerPoolRef": {"name": "etl"},
        "parameters": [{"name": "year", "type": "string"}],
        "sources": [
            {
                "name": "raw",
                "connection": "landing",
                "files": source,
                "columns": [{"name": "id", "type": "int64"}],
            }
        ],
        "steps": [
            {
                "name": "sums",
                "inputs": ["raw"],
                "sql": {"query": "SELECT id % 2 AS odd, sum(id) AS s FROM raw GROUP BY 1"},
            }
        ],
        "sinks": [
            {
                "name": table,
                "input": given,
                "connection": "warehouse",
                "postgres": {"table": f"public.{table}"},
                "writeDisposition": "Append",
                "commit": "AtEnd",
            }
            for table, given in (("rows", "raw"), ("sums", "sums"))
        ],
        "execution": {"chunk": {"maxRows": 300}, "errorTolerance": {"maxPercent": 50}},
    }
    done = await runs.run(spec, key="first", parameters={"year": "2026"})
    assert (done.result, done.error) == ("Succeeded", None), done.error
    assert {step.step: (step.rows_in, step.rows_out, step.rejected) for step in done.steps}["raw"] == (2002, 2000, 2)
    assert pool.database.query("SELECT count(*), count(DISTINCT id) FROM public.rows") == [["2000", "2000"]]
    odd, even = sum(range(1, 2000, 2)), sum(range(0, 2000, 2))
    assert pool.database.query("SELECT odd, s FROM public.sums ORDER BY odd") == [["0", str(even)], ["1", str(odd)]]
    assert pool.database.query("SELECT DISTINCT file, line FROM tidemill.dead_letters ORDER BY 1") == [
        ["2026/a.csv", "1002"], ["2026/b.csv", "1002"],
    ]  # fmt: skip
    assert keys(bucket) == ["in/2026/a.csv", "in/2026/b.csv"]
    once = spec | {
        "sources": [spec["sources"][0] | {"incremental": {"by": "ModifiedTime"}}],
        "steps": [],
        "sinks": [spec["sinks"][0] | {"postgres": {"table": "public.once"}}],
    }
    for key, read in (("second", 2002), ("third", 0), ("fourth", 1)):
        if key == "fourth":
            put(bucket, "in/2026/b.csv", "id\n5000\n")
        again = await runs.run(once, pipeline="once", key=key, parameters={"year": "2026"})
        assert (again.result, again.rows_read) == ("Succeeded", read), again.error
    logs = Path(worker.log).read_text()
    assert all(value not in logs for value in KEYS.values())
