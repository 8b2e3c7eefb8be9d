"""Whole runs into files of a bucket: by a worker, incremental, with rejected rows and with a check that fails."""

from __future__ import annotations

from typing import Any

from tests.support.datasets import lake_of_bucket
from tests.support.fixtures import unique
from tests.support.s3 import KEYS, SECRET, S3Server, put
from tests.support.worker import Pool, Runs


async def test_only_what_is_new_is_added_to_a_data_set(s3_server: S3Server, pool: Pool, runs: Runs) -> None:
    bucket = s3_server.bucket(unique("b-"))
    secret = pool.secrets / SECRET
    secret.mkdir(parents=True)
    for key, value in KEYS.items():
        (secret / key).write_text(value)
    landing = s3_server.connection(bucket.bucket.name, "in/").model_dump(by_alias=True, exclude_none=True)
    lake = s3_server.connection(bucket.bucket.name, "lake/").model_dump(by_alias=True, exclude_none=True)
    warehouse = {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}}
    granted = {"name": "lake", "files": lake | {"access": "Write"}}
    pool.write(connections=[{"name": "landing", "files": landing}, granted, warehouse])
    pool.start()
    spec: dict[str, Any] = {
        "workerPoolRef": {"name": "etl"},
        "sources": [
            {
                "name": "raw",
                "connection": "landing",
                "files": {"path": "*.csv", "format": {"csv": {}}},
                "columns": [{"name": "id", "type": "int64"}, {"name": "day", "type": "date"}],
                "incremental": {"by": "ModifiedTime"},
            }
        ],
        "sinks": [
            {
                "name": "out",
                "input": "raw",
                "connection": "lake",
                "files": {"path": "rows", "partitionBy": ["day"]},
                "writeDisposition": "Append",
            }
        ],
        "checks": [{"name": "volume", "sink": "out", "metric": "rowCount", "atMost": 5}],
        "execution": {"errorTolerance": {"maxPercent": 60}},
    }
    seen = lake_of_bucket(s3_server.client(bucket.bucket.name, "lake/"))
    put(bucket, "in/a.csv", "id,day\n1,2013-01-01\n2,2013-01-02\nx,2013-01-02\n")
    first = await runs.run(spec, key="first")
    assert (first.result, first.rows_loaded, first.rows_rejected) == ("Succeeded", 2, 1), first.error
    put(bucket, "in/b.csv", "id,day\n3,2013-01-02\n")
    second = await runs.run(spec, key="second")
    assert (second.result, second.rows_loaded) == ("Succeeded", 1), second.error
    expected = [{"id": n, "day": f"2013-01-0{day}"} for n, day in ((1, 1), (2, 2), (3, 2))]
    assert seen.told("rows") == seen.rows("rows") == expected
    put(bucket, "in/c.csv", "id,day\n4,2013-01-02\n5,2013-01-02\n6,2013-01-02\n")
    refused = await runs.run(spec, key="third")
    assert refused.error is not None
    assert (refused.result, refused.error.type) == ("Failed", "CheckFailed")
    assert seen.told("rows") == seen.rows("rows") == expected
    assert seen.left("rows") == []
