"""What each way of writing leaves in a table: which row wins, what stays, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.engine import RUN, Result, World, database_pool, execution, spec_of
from tests.support.fixtures import Database
from tidemill_api.errors import OlderThanPublished, ReprocessRefused, SinkRefused, TableMismatch
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker import engine
from tidemill_worker.engine import RunRef
from tidemill_worker.engine.postgres import staged, swap

COLUMNS = [
    {"name": "id", "type": "int32"},
    {"name": "name", "type": "string"},
    {"name": "at", "type": "int32"},
]
FIRST = RUN.run_time
SCD2: dict[str, Any] = {"writeDisposition": "Merge", "primaryKey": ["id"], "mergeStrategy": "SCD2"}

Row = tuple[int | None, str | None, int | None]


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    yield World(tmp_path, pool)
    pool.terminate()


def pipeline(size: str = "1Mi", **sink: Any) -> DataPipelineSpec:
    return spec_of(source={"columns": COLUMNS}, sink=sink, execution={"chunk": {"maxBytes": size}})


def of_day(day: int, number: int = 1) -> RunRef:
    """The run of a day after the first."""
    moment = FIRST + timedelta(days=day)
    return replace(RUN, run_key=moment.isoformat(), run_time=moment, execution=number)


async def load(world: World, spec: DataPipelineSpec, rows: Sequence[Row], run: RunRef = RUN) -> Result:
    """A run over these rows, in two files."""
    half = (len(rows) + 1) // 2
    for name, part in (("a.csv", rows[:half]), ("b.csv", rows[half:])):
        text = "".join(",".join("" if v is None else str(v) for v in row) + "\n" for row in part)
        world.write(name, "id,name,at\n" + text)
    return await world.run(spec, run)


async def table(world: World, columns: str = "id, name, at") -> list[tuple[Any, ...]]:
    return await world.fetch(f"SELECT {columns} FROM public.out ORDER BY {columns}")


@pytest.mark.parametrize("unique", [True, False], ids=["unique-index", "no-index"])
@pytest.mark.parametrize(
    ("strategy", "left", "counts"),
    [
        ("Upsert", [(1, "new", 1, "seen"), (2, "kept", 1, "seen"), (3, "more", 1, "made")], (1, 1)),
        ("InsertOnly", [(1, "old", 0, "seen"), (2, "kept", 1, "seen"), (3, "more", 1, "made")], (1, 0)),
        ("DeleteInsert", [(1, "new", 1, "made"), (2, "kept", 1, "seen"), (3, "more", 1, "made")], (1, 1)),
    ],
)
async def test_what_a_merge_does_with_a_key_that_is_there(
    world: World, strategy: str, left: list[tuple[Any, ...]], counts: tuple[int, int], unique: bool
) -> None:
    key = "PRIMARY KEY" if unique else ""
    await world.pool.execute(
        f"CREATE TABLE public.out (id integer {key}, name text, at integer, mark text DEFAULT 'made'); "
        "INSERT INTO public.out VALUES (1, 'old', 0, 'seen'), (2, 'kept', 1, 'seen')"
    )
    spec = pipeline(writeDisposition="Merge", primaryKey=["id"], mergeStrategy=strategy)
    done = await load(world, spec, [(1, "first", 1), (3, "more", 1), (1, "new", 1)])
    assert await table(world, "id, name, at, mark") == left
    assert (done.sinks["out"].rows, done.sinks["out"].inserted, done.sinks["out"].updated) == (3, *counts)


@pytest.mark.parametrize("strategy", ["Upsert", "InsertOnly", "DeleteInsert", "SCD2"])
@pytest.mark.parametrize(
    ("order", "winner"),
    [
        ([], "last"),
        ([{"column": "at"}], "late"),
        ([{"column": "at", "order": "Asc"}], "early"),
        ([{"column": "name"}], "late"),
        ([{"column": "name", "order": "Asc"}], "Zero"),
        ([{"column": "id"}, {"column": "at"}], "late"),
        ([{"column": "id"}], "last"),
    ],
    ids=["reading", "desc", "asc", "text", "bytes", "two", "tie"],
)
async def test_which_of_several_rows_with_one_key_wins(
    world: World, strategy: str, order: list[dict[str, str]], winner: str
) -> None:
    rows: list[Row] = [(1, "early", 1), (1, "late", 9), (1, "Zero", 5), (1, "last", None)]
    spec = pipeline("16", writeDisposition="Merge", primaryKey=["id"], mergeStrategy=strategy, dedupOrder=order)
    await load(world, spec, rows)
    assert await table(world, "name") == [(winner,)]


async def test_rows_that_are_appended_at_the_end_stay_once(world: World) -> None:
    spec = pipeline("16", writeDisposition="Append", commit="AtEnd")
    rows: list[Row] = [(n, "x", n) for n in range(9)]
    await load(world, spec, rows)
    await load(world, spec, rows, of_day(1))
    assert await table(world) == sorted(rows * 2)
    await world.run(spec, of_day(1, 2))
    assert await table(world) == sorted(rows * 2)
    world.write("b.csv", "id,name,at\n77,y,1\n")
    with pytest.raises(ReprocessRefused, match="have changed since"):
        await world.run(spec, of_day(1, 3))


async def test_a_failed_run_has_appended_nothing_and_may_read_other_files(world: World) -> None:
    spec = pipeline("16", writeDisposition="Append", commit="AtEnd")
    world.write("a.csv", "id,name,at\n" + "1,x,1\n" * 9)
    chunks = await world.plan(spec)
    for chunk in chunks:
        await world.load(spec, chunk, chunks)
    await load(world, spec, [(2, "y", 2)] * 9, execution(2))
    assert await table(world) == [(2, "y", 2)] * 9


async def history(world: World) -> list[tuple[Any, ...]]:
    """Versions, with days for their times."""
    found = await table(world, "id, name, at, valid_from, valid_to")
    return [(*row[:3], (row[3] - FIRST).days, row[4] and (row[4] - FIRST).days) for row in found]


async def test_former_versions_stay(world: World) -> None:
    spec = pipeline(**SCD2)
    await load(world, spec, [(1, "a", 1), (2, "b", None), (3, "c", 3)])
    second = await load(world, spec, [(1, "a", 1), (2, "b", 2), (4, "d", 4)], of_day(1))
    assert (second.sinks["out"].inserted, second.sinks["out"].updated) == (2, 1)
    expected = [(1, "a", 1, 0, None), (2, "b", None, 0, 1), (2, "b", 2, 1, None), (3, "c", 3, 0, None)]
    assert await history(world) == sorted([*expected, (4, "d", 4, 1, None)], key=str)
    with pytest.raises(OlderThanPublished, match="it would come before versions that are there"):
        await load(world, spec, [(1, "older", 1)], of_day(-1))
    await load(world, spec, [(4, "corrected", 4)], of_day(1, 2))
    assert (4, "corrected", 4, 1, None) in await history(world)
    assert len(await history(world)) == 5


async def test_keys_that_are_absent_are_retired_if_asked_for(world: World) -> None:
    spec = pipeline(**SCD2, scd2={"validFrom": "began", "validTo": "ended", "absentKeys": "Retire"})
    await load(world, spec, [(1, "a", 1), (2, "b", 2)])
    await load(world, spec, [(2, "b", 2)], of_day(1))
    await load(world, spec, [(1, "a", 1), (2, "b", 2)], of_day(2))
    found = await table(world, "id, began, ended")
    days = [(row[0], (row[1] - FIRST).days, row[2] and (row[2] - FIRST).days) for row in found]
    assert days == [(1, 0, 1), (1, 2, None), (2, 0, None)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    snapshots=st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["a", "b", None]), st.none()), max_size=6),
        min_size=1,
        max_size=4,
    ),
    retire=st.booleans(),
    size=st.sampled_from(["8", "1Mi"]),
)
async def test_history_is_what_a_list_of_snapshots_says(
    migrated: Database,
    tmp_path_factory: pytest.TempPathFactory,
    snapshots: list[list[Row]],
    retire: bool,
    size: str,
) -> None:
    pool = await database_pool(migrated.dsn)
    try:
        await pool.execute(
            "DROP TABLE IF EXISTS public.out; TRUNCATE tidemill.ledger, tidemill.fence, tidemill.published"
        )
        world = World(tmp_path_factory.mktemp("history"), pool)
        spec = pipeline(size, **SCD2, scd2={"absentKeys": "Retire" if retire else "Keep"})
        done: list[tuple[Any, ...]] = []
        newest: dict[int | None, tuple[str | None, int]] = {}
        for day, snapshot in enumerate(snapshots):
            await load(world, spec, snapshot, of_day(day))
            await world.run(spec, of_day(day, 2))
            now = {key: name for key, name, _ in snapshot}
            for key in [
                key for key in newest if (key not in now and retire) or (key in now and now[key] != newest[key][0])
            ]:
                name, since = newest.pop(key)
                done.append((key, name, None, since, day))
            newest |= {key: (name, day) for key, name in now.items() if key not in newest}
        expected = [*done, *((key, name, None, since, None) for key, (name, since) in newest.items())]
        assert sorted(await history(world), key=str) == sorted(expected, key=str)
    finally:
        await pool.close()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("id integer, name text, at integer", "needs a column valid_from .scd2.validFrom. of the type timestamp"),
        ("id integer, name text, at integer, valid_from date, valid_to timestamptz", "needs a column valid_from"),
        ("id integer, name text, at integer, valid_from timestamptz", "needs a column valid_to"),
    ],
)
async def test_a_table_that_can_t_keep_versions(world: World, made: str, said: str) -> None:
    await world.pool.execute(f"CREATE TABLE public.out ({made})")
    with pytest.raises(TableMismatch, match=said):
        await load(world, pipeline(**SCD2), [(1, "a", 1)])


async def test_columns_that_a_sink_names_and_rows_have_not_or_ought_not_to_have(world: World) -> None:
    with pytest.raises(TableMismatch, match="the rows have at, which the sink writes itself"):
        await load(world, pipeline(**SCD2, scd2={"validTo": "at"}), [(1, "a", 1)])
    with pytest.raises(TableMismatch, match="dedupOrder names since, which the rows don't have"):
        await load(world, pipeline(**SCD2, dedupOrder=[{"column": "since"}]), [(1, "a", 1)])
    with pytest.raises(TableMismatch, match="partitionBy names day, which the rows don't have"):
        await load(world, pipeline(writeDisposition="Replace", partitionBy=["day"]), [(1, "a", 1)])


async def test_versions_of_values_that_postgres_can_t_compare(world: World) -> None:
    await world.pool.execute(
        "CREATE TABLE public.out (id integer, name json, at numeric(4,1), valid_from timestamp, valid_to timestamp)"
    )
    spec = pipeline(**SCD2)
    await load(world, spec, [(1, "[1]", 1), (2, "[2]", 2)])
    await load(world, spec, [(1, "[1]", 1), (2, "[3]", 2)], of_day(1))
    assert await world.fetch("SELECT id, count(*) FROM public.out GROUP BY id ORDER BY id") == [(1, 1), (2, 2)]
    assert await world.fetch("SELECT DISTINCT valid_from FROM public.out WHERE id = 1") == [(datetime(2026, 1, 1),)]  # noqa: DTZ001 - a column without a time zone


@pytest.mark.parametrize("size", ["16", "1Mi"])
async def test_only_partitions_that_a_run_has_rows_for_are_replaced(world: World, size: str) -> None:
    spec = pipeline(size, writeDisposition="Replace", partitionBy=["at", "name"])
    await load(world, spec, [(1, "a", 1), (2, "a", 1), (3, "a", 2), (4, None, 1), (5, None, None)], of_day(5))
    await load(world, spec, [(9, "a", 1), (8, None, 1), (7, "b", 2)], of_day(6))
    assert await table(world, "id") == [(3,), (5,), (7,), (8,), (9,)]
    # An older run may replace what newer ones had no rows for, and nothing else.
    await load(world, spec, [(6, "a", 7)], of_day(0))
    await load(world, spec, [(13, "a", 2)], of_day(5, 2))
    with pytest.raises(OlderThanPublished, match="1 of the partitions that run"):
        await load(world, spec, [(6, "a", 1), (6, "a", 7)], of_day(1))
    assert await table(world, "id") == [(5,), (6,), (7,), (8,), (9,), (13,)]


async def test_a_swap_keeps_what_the_table_was(world: World) -> None:
    role = "reader_" + (await world.pool.fetchval("SELECT md5(current_database())"))[:12]
    await world.pool.execute(
        f"""
        CREATE ROLE {role};
        CREATE TABLE public.out (id integer PRIMARY KEY, name text DEFAULT 'x' CHECK (name <> ''), at integer)
            WITH (fillfactor = 70);
        CREATE INDEX out_by_name ON public.out (lower(name)) WHERE at > 0;
        ALTER TABLE public.out ADD CONSTRAINT once UNIQUE (id, name);
        COMMENT ON TABLE public.out IS 'all';
        COMMENT ON COLUMN public.out.at IS 'when';
        COMMENT ON INDEX public.out_by_name IS 'fast';
        COMMENT ON CONSTRAINT once ON public.out IS 'twice is wrong';
        GRANT SELECT ON public.out TO {role};
        GRANT UPDATE (name) ON public.out TO {role} WITH GRANT OPTION;
        ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO {role};
        INSERT INTO public.out VALUES (99, 'gone', 1)
        """
    )
    before = await shape(world)
    try:
        await load(
            world, pipeline("16", writeDisposition="Replace", replaceStrategy="Swap"), [(1, "a", 1), (2, "b", 2)]
        )
        assert await shape(world) == before
        assert await table(world) == [(1, "a", 1), (2, "b", 2)]
    finally:
        await world.pool.execute(
            f"ALTER DEFAULT PRIVILEGES REVOKE DELETE ON TABLES FROM {role}; DROP OWNED BY {role}; DROP ROLE {role}"
        )


async def shape(world: World) -> list[tuple[Any, ...]]:
    """All that belongs to the table but its rows, its numbers and its files."""
    return await world.fetch(
        """
        SELECT 'index', indexname::text, indexdef, obj_description(format('public.%I', indexname)::regclass, 'pg_class')
        FROM pg_indexes WHERE tablename = 'out'
        UNION ALL SELECT 'constraint', conname::text, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint')
        FROM pg_constraint WHERE conrelid = 'public.out'::regclass
        UNION ALL SELECT 'column', attname::text, format_type(atttypid, atttypmod), attacl::text
        FROM pg_attribute WHERE attrelid = 'public.out'::regclass AND attnum > 0
        UNION ALL SELECT 'comment', '', col_description(oid, 3), obj_description(oid)
        FROM pg_class WHERE oid = 'public.out'::regclass
        UNION ALL SELECT 'table', relowner::text, reloptions::text,
            (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(relacl) a)
        FROM pg_class WHERE oid = 'public.out'::regclass
        ORDER BY 1, 2
        """
    )


TRIGGER = (
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
    "CREATE TRIGGER t BEFORE INSERT ON public.out FOR EACH ROW EXECUTE FUNCTION f()"
)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("CREATE VIEW seen AS SELECT id FROM public.out", "the view seen"),
        ("CREATE MATERIALIZED VIEW kept AS SELECT id FROM public.out", "the materialized view kept"),
        ("CREATE TABLE child (id integer REFERENCES public.out)", "the foreign key child_id_fkey of child"),
        ("ALTER TABLE public.out ADD FOREIGN KEY (at) REFERENCES public.out", "the foreign key out_at_fkey of"),
        (TRIGGER, "the trigger t"),
        ("ALTER TABLE public.out ENABLE ROW LEVEL SECURITY", "row level security"),
        ("CREATE POLICY mine ON public.out USING (true)", "the policy mine"),
        ("CREATE RULE r AS ON DELETE TO public.out DO INSTEAD NOTHING", "the rule r"),
        ("ALTER TABLE public.out ADD COLUMN n serial", "the sequence out_n_seq"),
        ("CREATE PUBLICATION p FOR TABLE public.out", "the publication p"),
        ("CREATE TABLE heir () INHERITS (public.out)", "a table that it inherits from"),
        ("CREATE TABLE holder (o public.out)", "what uses its row type: column o of table holder"),
        ("ALTER TABLE public.out ADD UNIQUE (at) DEFERRABLE", "the constraint out_at_key, which is deferrable"),
        ("ALTER TABLE public.out SET UNLOGGED", "that it is no ordinary table"),
    ],
)  # fmt: skip
async def test_a_swap_is_refused_before_anything_is_loaded(world: World, made: str, named: str) -> None:
    await world.pool.execute(f"CREATE TABLE public.out (id integer PRIMARY KEY, name text, at integer); {made}")
    spec = pipeline(writeDisposition="Replace", replaceStrategy="Swap")
    world.write("a.csv", "id,name,at\n1,a,1\n")
    with pytest.raises(SinkRefused, match="can't be swapped, since a new table would go without") as refused:
        await world.plan(spec)
    assert named in str(refused.value)
    await world.run(pipeline(writeDisposition="Replace"), of_day(1))


async def test_what_comes_to_depend_on_a_table_meanwhile_isn_t_lost(world: World) -> None:
    spec = pipeline("16", writeDisposition="Replace", replaceStrategy="Swap")
    await load(world, spec, [(1, "a", 1)])
    world.write("b.csv", "id,name,at\n2,b,2\n")
    chunks = await world.plan(spec, of_day(1))
    await world.pool.execute("CREATE VIEW seen AS SELECT id FROM public.out")
    for chunk in chunks:
        await world.load(spec, chunk, chunks, of_day(1))
    with pytest.raises(SinkRefused, match="the view seen"):
        await engine.publish(spec, of_day(1), "out", chunks, world)
    assert await world.fetch("SELECT id FROM seen") == [(1,)]


async def test_readers_of_a_table_that_is_swapped_hardly_wait(world: World) -> None:
    """While the new table is filled, the old one can be read."""
    spec = pipeline("16", writeDisposition="Replace", replaceStrategy="Swap")
    await load(world, spec, [(1, "old", 1)])
    seen: list[list[tuple[Any, ...]]] = []

    async def append_while_others_read(*args: Any) -> int:
        done = await staged.append(*args)
        seen.append(await table(world))
        return done

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(swap, "append", append_while_others_read)
        await load(world, spec, [(2, "new", 2), (3, "new", 3)], of_day(1))
    assert seen == [[(1, "old", 1)]]
    assert await table(world, "id") == [(2,), (3,)]
