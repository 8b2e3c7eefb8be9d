"""`tidemill ddl`: with the tables and rights that it prints a pipeline loads, and with any right less it doesn't."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
import pytest

from tests.integration.test_engine_once import DISPOSITIONS
from tests.support.commands import tidemill
from tests.support.engine import RUN, World, database_pool, spec_of
from tests.support.fixtures import Database, unique
from tidemill_api.errors import SinkRefused
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.postgres.ddl import create_table, database_rights, table_rights
from tidemill_worker.engine.postgres.tables import created

COLUMNS = [{"name": "id", "type": "int32"}, {"name": "name", "type": "string"}]
SCHEMA = pa.schema([("id", pa.int32()), ("name", pa.string())])
RETIRING = {"Retiring": DISPOSITIONS["SCD2"] | {"scd2": {"absentKeys": "Retire"}}}
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")


@pytest.fixture
async def role(database: Database) -> AsyncIterator[str]:
    """A user of the database who may do nothing there."""
    name = unique("loader_")
    database.query("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    database.query(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    yield name
    database.query(f"REASSIGN OWNED BY {name} TO CURRENT_USER")
    database.query(f"DROP OWNED BY {name}")
    database.query(f"DROP ROLE {name}")


def dsn_of(database: Database, role: str) -> str:
    """The connection string of a user."""
    parts = urlsplit(database.dsn)
    return urlunsplit(parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}"))


def pipeline(way: str, size: str) -> DataPipelineSpec:
    sink = (DISPOSITIONS | RETIRING)[way] | {"postgres": {"table": "public.out", "createTable": "Never"}}
    return spec_of(source={"columns": COLUMNS}, sink=sink, execution={"chunk": {"maxBytes": size}})


def prepared(database: Database, sink: Sink, role: str) -> None:
    """What `tidemill ddl` prints, run by whoever the database belongs to; twice does no harm."""
    columns = {field.name: field.type for field in created(sink, SCHEMA).fields}
    made = (*database_rights(role), *create_table(sink, columns), *table_rights(sink, role, checked=False))
    for _ in range(2):
        database.query("; ".join(made))


async def load(database: Database, folder: Path, spec: DataPipelineSpec, role: str, day: int) -> None:
    """A run by that user: rows that are there, others, and none of some that were."""
    pool = await database_pool(dsn_of(database, role))
    try:
        world = World(folder, pool)
        world.write("a.csv", "id,name\n" + "".join(f"{n},n{day}\n" for n in range(day * 3, day * 3 + 6)))
        moment = RUN.run_time + timedelta(days=day)
        await world.run(spec, replace(RUN, run_key=moment.isoformat(), run_time=moment))
    finally:
        await pool.close()


@pytest.mark.parametrize("way", [*DISPOSITIONS, *RETIRING])
async def test_the_rights_are_enough_and_none_is_too_much(
    database: Database, role: str, tmp_path: Path, way: str
) -> None:
    spec = pipeline(way, "16")
    prepared(database, spec.sinks[0], role)
    await load(database, tmp_path, spec, role, 0)
    await load(database, tmp_path, pipeline(way, "1Mi"), role, 1)
    granted = [right for right in RIGHTS if way != "Swap" and _has(database, role, right)]
    for place, right in enumerate(granted):
        if (way, right) == ("Replace", "DELETE"):
            continue  # only where another table refers to it
        database.query(f"REVOKE {right} ON public.out FROM {role}")
        with pytest.raises(SinkRefused, match="InsufficientPrivilege"):
            await load(database, tmp_path, spec, role, 2 + place)
        database.query(f"GRANT {right} ON public.out TO {role}")


def _has(database: Database, role: str, right: str) -> bool:
    return database.query(f"SELECT has_table_privilege('{role}', 'public.out', '{right}')") == [["t"]]


async def test_a_table_that_others_refer_to_is_emptied_row_by_row(
    database: Database, role: str, tmp_path: Path
) -> None:
    spec = pipeline("Replace", "1Mi")
    prepared(database, spec.sinks[0], role)
    database.query("ALTER TABLE public.out ADD PRIMARY KEY (id); CREATE TABLE child (id integer REFERENCES public.out)")
    await load(database, tmp_path, spec, role, 0)
    await load(database, tmp_path, spec, role, 1)


def test_checks_need_to_read() -> None:
    made: dict[str, Any] = spec_of().sinks[0].to_json()
    sink = Sink.model_validate(made)
    assert table_rights(sink, "a b", checked=True)[1] == 'GRANT SELECT, INSERT ON TABLE "public"."out" TO "a b"'


MANIFESTS = """\
apiVersion: tidemill.dev/v1alpha1
kind: WorkerPool
metadata: {name: etl, namespace: shop}
spec:
  connections:
    - name: landing
      files: {url: "file:///landing/"}
    - name: warehouse
      postgres: {dsn: {secretKeyRef: {name: warehouse, key: dsn}}, schemas: [public], access: Write}
  metastore: {connection: warehouse}
---
apiVersion: tidemill.dev/v1alpha1
kind: DataPipeline
metadata: {name: orders, namespace: shop}
spec:
  workerPoolRef: {name: etl}
  parameters: [{name: since, type: date}]
  sources:
    - {name: raw, connection: landing, files: {path: "*.csv", format: {csv: {}}}}
  steps:
    - name: late
      inputs: [raw]
      sql: {query: "SELECT *, day >= $since AS new FROM raw"}
  sinks:
    - name: orders
      input: late
      connection: warehouse
      postgres: {table: public.orders}
      writeDisposition: Merge
      primaryKey: [id]
      mergeStrategy: SCD2
    - {name: log, input: raw, connection: warehouse, postgres: {table: public.log}, writeDisposition: Append}
  checks:
    - {name: some, sink: log, metric: rowCount, atLeast: 1}
"""
PRINTED = """\
-- The database of the connection warehouse.
CREATE SCHEMA IF NOT EXISTS tidemill AUTHORIZATION "{role}";
DO 'BEGIN EXECUTE format(''GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I'', current_database(), ''{role}''); END';

-- pipeline orders, sink orders
CREATE TABLE IF NOT EXISTS "public"."orders" ("id" bigint, "day" date, "new" boolean, \
"valid_from" timestamp with time zone NOT NULL, "valid_to" timestamp with time zone, PRIMARY KEY ("id", "valid_from"));
CREATE UNIQUE INDEX IF NOT EXISTS "orders_newest" ON "public"."orders" ("id") WHERE "valid_to" IS NULL;
GRANT USAGE ON SCHEMA "public" TO "{role}";
GRANT SELECT, INSERT, UPDATE ON TABLE "public"."orders" TO "{role}";

-- pipeline orders, sink log
CREATE TABLE IF NOT EXISTS "public"."log" ("id" bigint, "day" date);
GRANT USAGE ON SCHEMA "public" TO "{role}";
GRANT SELECT, INSERT ON TABLE "public"."log" TO "{role}";
"""


def test_the_command_prints_what_a_database_takes(database: Database, role: str, tmp_path: Path) -> None:
    manifest = tmp_path / "orders.yaml"
    manifest.write_text(MANIFESTS)
    (tmp_path / "a.csv").write_text("id,day\n1,2026-01-01\n2,2026-01-02\n")
    said = tidemill("ddl", manifest, "--role", role, "--folder", f"landing={tmp_path}")
    assert (said.code, said.err, said.out) == (0, "", PRINTED.replace("{role}", role))
    database.query(said.out)
    database.query(said.out)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(MANIFESTS.replace("writeDisposition: Merge", "writeDisposition: Mrege"))
    said = tidemill("ddl", wrong)
    assert (said.code, said.out) == (1, "")
    assert "spec.sinks[0].writeDisposition" in said.err
    wrong.write_text(MANIFESTS)
    said = tidemill("ddl", wrong, "--folder", f"landing={tmp_path}")
    assert (said.code, said.out) == (1, "")
    assert "no file matches" in said.err
    assert tidemill("ddl", tmp_path / "nothing.yaml").code == 2
