"""Whole runs on a real worker: from a `RunInput` to rows, counts, dead letters and endings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import asyncpg
import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle

from tests.support.fixtures import Database, unique
from tests.support.worker import Pool, Runs, eventually, runs_on
from tidemill_api.contract import PROGRESS_QUERY, RESULT_MEMO_KEY, RunProgress, RunResult, StepCount
from tidemill_api.v1alpha1._types import SecretKeyRef, SecretValue
from tidemill_api.v1alpha1.workerpool import Connection, PostgresConnection
from tidemill_cli.dev.components.postgres import DATABASE, PostgresServer
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_worker.activities.housekeeping import forget_runs, forget_staging
from tidemill_worker.connections import PoolConnections
from tidemill_worker.metastore import Metastore
from tidemill_worker.migrations import ensure
from tidemill_worker.workflows.messages import SLOT_FREE

GOOD = "".join(f"{n},{n % 12 + 1},c{n}\n" for n in range(100))
HEADER = "id,month,name\n"


@pytest.fixture(scope="module")
def worker_pool(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, temporal_server: TemporalServer
) -> Iterator[Pool]:
    """One worker for all tests of this file: each has its own pipeline, folder and table."""
    database = Database(postgres_server, unique("runs_"))
    everyone = Database(postgres_server, "postgres")
    everyone.query(f"CREATE DATABASE {database.name} TEMPLATE {DATABASE}")
    pool = Pool(tmp_path_factory.mktemp("pool"), database, unique("i"), temporal_server)
    worker = pool.start()
    yield pool
    assert worker.stop() == 0, worker.log.read_text()
    everyone.query(f"DROP DATABASE {database.name} WITH (FORCE)")


@pytest.fixture
async def here(worker_pool: Pool) -> AsyncIterator[Bench]:
    """A pipeline of this test's own."""
    async with runs_on(worker_pool) as runs:
        yield Bench(worker_pool, runs, unique("p"))


class Bench:
    """One pipeline: its files, table and runs."""

    def __init__(self, pool: Pool, runs: Runs, name: str) -> None:
        self.pool, self.runs, self.name = pool, runs, name
        (pool.landing / name).mkdir()

    def write(self, text: str, file: str = "a.csv") -> None:
        (self.pool.landing / self.name / file).write_text(text)

    def query(self, sql: str) -> list[list[str]]:
        return self.pool.database.query(sql.replace("{table}", f"public.{self.name}").replace("{name}", self.name))

    def spec(self, *, disposition: str = "Append", **changes: Any) -> dict[str, Any]:
        sink = {
            "name": "out",
            "input": "valid",
            "connection": "warehouse",
            "writeDisposition": disposition,
            "postgres": {"table": f"public.{self.name}", "createTable": "IfMissing"},
        }
        if disposition == "Merge":
            sink["primaryKey"] = ["id"]
        return {
            "workerPoolRef": {"name": "etl"},
            "sources": [
                {
                    "name": "raw",
                    "connection": "landing",
                    "files": {"path": f"{self.name}/*.csv", "format": {"csv": {}}},
                    "columns": [
                        {"name": "id", "type": "int64", "required": True},
                        {"name": "month", "type": "int32"},
                        {"name": "name", "type": "string"},
                    ],
                }
            ],
            "steps": [
                {
                    "name": "valid",
                    "inputs": ["raw"],
                    "validate": {"rules": [{"name": "month-in-range", "expression": "month BETWEEN 1 AND 12"}]},
                }
            ],
            "sinks": [sink],
            **changes,
        }

    async def start(self, spec: Mapping[str, Any] | None = None, **options: Any) -> WorkflowHandle[Any, RunResult]:
        return await self.runs.start(spec or self.spec(), pipeline=self.name, **options)

    async def run(self, spec: Mapping[str, Any] | None = None, **options: Any) -> RunResult:
        return await self.runs.result(await self.start(spec, **options))

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """While somebody holds the table, so that a load waits at its COPY."""
        connection = await asyncpg.connect(self.pool.database.dsn)
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE public.{self.name} IN ACCESS EXCLUSIVE MODE")
                yield
        finally:
            await connection.close()

    async def until_loading(self, handle: WorkflowHandle[Any, RunResult]) -> None:
        """Until a chunk of the run waits for the lock."""

        async def loading() -> bool:
            progress = await handle.query(PROGRESS_QUERY, result_type=RunProgress)
            waiting = await asyncio.to_thread(
                self.query, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
            )
            return progress.phase == "Loading" and waiting != [["0"]]

        await eventually(loading)


async def memo(handle: WorkflowHandle[Any, RunResult]) -> RunResult:
    described = await handle.describe()
    return RunResult.model_validate(await described.memo_value(RESULT_MEMO_KEY))


@pytest.mark.parametrize("disposition", ["Append", "Merge", "Replace"])
@pytest.mark.parametrize("files", [1, 3])
async def test_rows_counts_and_dead_letters(here: Bench, disposition: str, files: int) -> None:
    for file in range(files):
        rows = "".join(f"{file * 1000 + n},{n % 12 + 1},c{n}\n" for n in range(100))
        here.write(HEADER + rows + f"{file},13,bad month\n{file},x,bad value\n", f"{file}.csv")
    handle = await here.start(here.spec(disposition=disposition))

    result = await here.runs.result(handle)

    assert (result.result, result.error, result.execution, result.chunks) == ("Succeeded", None, 1, files)
    assert (result.rows_read, result.rows_loaded, result.rows_rejected) == (102 * files, 100 * files, 2 * files)
    assert result.steps[:2] == (  # a Merge counts what its sink has checked, too
        StepCount(step="raw", rows_in=102 * files, rows_out=101 * files, rejected=files),
        StepCount(step="valid", rows_in=101 * files, rows_out=100 * files, rejected=files),
    )
    assert [(sink.sink, sink.rows) for sink in result.sinks] == [("out", 100 * files)]
    assert await memo(handle) == result
    assert here.query("SELECT count(*), count(DISTINCT id), sum(id) FROM {table}") == [
        [str(100 * files), str(100 * files), str(sum(file * 1000 + n for file in range(files) for n in range(100)))]
    ]
    assert here.query(
        "SELECT step, reason, rules, file, line, row_text, status FROM tidemill.dead_letters "
        "WHERE pipeline = '{name}' ORDER BY file, line"
    ) == [
        letter
        for file in range(files)
        for letter in (
            [
                "valid",
                "RuleBroken",
                "{month-in-range}",
                f"{here.name}/{file}.csv",
                "102",
                f"{file},13,bad month",
                "New",
            ],
            ["raw", "BadValue", "{}", f"{here.name}/{file}.csv", "103", f"{file},x,bad value", "New"],
        )
    ]
    assert here.query("SELECT count(*) FROM tidemill.slots WHERE run_key = '" + result.run_key + "'") == [["0"]]


async def test_the_views_for_people(here: Bench) -> None:
    here.write(HEADER + GOOD + "1,13,x\n2,14,x\n")
    result = await here.run()

    assert here.query("SELECT run_key, result, rows_loaded FROM tidemill.latest_runs WHERE pipeline = '{name}'") == [
        [result.run_key, "Succeeded", "100"]
    ]
    assert here.query(
        "SELECT step, rows_in, rows_out, rejected FROM tidemill.run_steps WHERE pipeline = '{name}' ORDER BY place"
    ) == [
        ["raw", "102", "102", "0"],
        ["valid", "102", "100", "2"],
    ]
    assert here.query("SELECT step, rule, rows FROM tidemill.dead_letter_counts WHERE pipeline = '{name}'") == [
        ["valid", "month-in-range", "2"]
    ]


async def test_a_file_in_many_chunks(here: Bench) -> None:
    here.write(HEADER + "".join(f"{n},{n % 12 + 1},c{n}\n" for n in range(5000)))
    execution = {"chunk": {"maxBytes": "4k"}, "parallelism": 4}

    result = await here.run(here.spec(disposition="Merge", execution=execution))

    assert result.result == "Succeeded"
    assert result.chunks > 10
    assert (result.rows_read, result.rows_loaded) == (5000, 5000)
    assert here.query("SELECT count(*), sum(id) FROM {table}") == [["5000", str(sum(range(5000)))]]


async def test_a_missing_file_fails_the_run_and_leaves_a_letter(here: Bench) -> None:
    result = await here.run()

    assert result.result == "Failed"
    assert result.error is not None
    assert result.error.type == "SourceMissing"
    assert here.query(
        "SELECT reason, error LIKE 'SourceMissing: %' FROM tidemill.dead_letters WHERE pipeline = '{name}'"
    ) == [["RunFailed", "t"]]
    assert here.query("SELECT result, error_type FROM tidemill.runs WHERE pipeline = '{name}'") == [
        ["Failed", "SourceMissing"]
    ]


async def test_a_completed_key_does_not_run_again(here: Bench) -> None:
    here.write(HEADER + GOOD)
    assert (await here.run(key="once")).result == "Succeeded"

    again = await here.run(key="once")

    assert (again.result, again.execution) == ("Skipped", 1)
    assert again.error is not None
    assert again.error.type == "ReprocessRefused"
    assert "completed by execution 1" in again.error.message
    assert here.query("SELECT count(*) FROM {table}") == [["100"]]


async def test_a_failed_key_runs_again_as_the_next_execution(here: Bench) -> None:
    assert (await here.run(here.spec(disposition="Merge"), key="again")).result == "Failed"
    here.write(HEADER + GOOD)

    result = await here.run(here.spec(disposition="Merge"), key="again")

    assert (result.result, result.execution, result.rows_loaded) == ("Succeeded", 2, 100)
    assert here.query("SELECT execution, result FROM tidemill.runs WHERE pipeline = '{name}' ORDER BY 1") == [
        ["1", "Failed"],
        ["2", "Succeeded"],
    ]


@pytest.mark.parametrize("files", [1, 2])
@pytest.mark.parametrize(
    ("tolerance", "bad", "words"),
    [({"maxRows": 1}, 2, "maxRows allows 1"), ({"maxPercent": 1}, 5, "maxPercent allows 1"), (None, 100, "all ")],
)
async def test_too_many_bad_rows_leave_the_table_as_it_was(
    here: Bench, files: int, tolerance: dict[str, Any] | None, bad: int, words: str
) -> None:
    here.write(HEADER + GOOD)
    assert (await here.run(here.spec(disposition="Replace"))).result == "Succeeded"
    rows = "".join(f"{n},{13 if n < bad else 1},c\n" for n in range(100))
    for file in range(files):
        here.write(HEADER + rows, f"{'ab'[file]}.csv")
    execution = {"errorTolerance": tolerance} if tolerance else {}

    result = await here.run(here.spec(disposition="Replace", execution=execution))

    assert result.result == "Failed"
    assert result.error is not None
    assert result.error.type == "ToleranceExceeded"
    assert words in result.error.message
    assert result.rows_loaded == 0
    if files == 1:  # it would have published itself; what it read is told all the same
        assert (result.rows_read, result.rows_rejected) == (100, bad)
        assert [(s.step, s.rows_in, s.rejected) for s in result.steps][-1] == ("valid", 100, bad)
    assert here.query("SELECT count(*) FROM {table} WHERE name <> 'c'") == [["100"]]
    letters = here.query(
        "SELECT count(*) FROM tidemill.dead_letters WHERE pipeline = '{name}' AND reason = 'RuleBroken'"
    )
    assert int(letters[0][0]) in {bad, bad * files}  # a run that ends early hasn't read all


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"steps": [], "sinks": "nope"}, "SpecError", "spec.sinks"),
        (
            {"steps": [{"name": "valid", "inputs": ["raw"], "sql": {"query": "SELECT first(name) FROM raw"}}]},
            "SQLError",
            "spec.steps[0]",
        ),
        (
            {"steps": [{"name": "valid", "inputs": ["raw"], "sql": {"query": "SELECT * FROM raw, 'x.csv'"}}]},
            "SQLError",
            "spec.steps[0]",
        ),
    ],
)
async def test_a_spec_that_the_worker_refuses(here: Bench, change: dict[str, Any], kind: str, words: str) -> None:
    here.write(HEADER + GOOD)

    result = await here.run(here.spec(**change))

    assert result.result == "Failed"
    assert result.error is not None
    assert (result.error.type, result.error.retryable) == (kind, False)
    assert words in result.error.message


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("connection",), "nowhere", "nowhere"),
        (("connection",), "landing", "landing"),
        (("postgres", "table"), "secret.t", "secret"),
        (("postgres", "table"), "tidemill.runs", "tidemill"),
    ],
)
async def test_what_the_pool_does_not_grant_is_refused(
    here: Bench, path: tuple[str, ...], value: str, words: str
) -> None:
    here.write(HEADER + GOOD)
    spec = here.spec()
    field = spec["sinks"][0]
    for part in path[:-1]:
        field = field[part]
    field[path[-1]] = value

    result = await here.run(spec)

    assert result.result == "Failed"
    assert result.error is not None
    assert result.error.type == "SpecError"
    assert words in result.error.message


async def test_cancelled_at_a_chunk_the_ledger_stays_true(here: Bench) -> None:
    here.write(HEADER + GOOD)
    assert (await here.run(key="first")).result == "Succeeded"
    async with here.locked():
        handle = await here.start(key="second")
        await here.until_loading(handle)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()

    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED
    assert (await memo(handle)).result == "Cancelled"
    assert here.query(
        "SELECT result, rows_loaded FROM tidemill.runs WHERE run_key = 'second' AND pipeline = '{name}'"
    ) == [["Cancelled", "0"]]
    assert here.query("SELECT count(*) FROM {table}") == [["100"]]
    assert (await here.run(key="third")).result == "Succeeded"


async def test_a_run_that_takes_too_long_fails_and_frees_its_slot(here: Bench) -> None:
    here.write(HEADER + GOOD)
    assert (await here.run()).result == "Succeeded"
    async with here.locked():
        result = await here.run(here.spec(execution={"timeout": "2s"}))

    assert result.result == "Failed"
    assert result.error is not None
    assert result.error.type == "RunTimeout"
    assert (await here.run()).result == "Succeeded"
    assert here.query("SELECT count(*) FROM {table}") == [["200"]]


async def test_skip(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run()
    async with here.locked():
        first = await here.start(key="first")
        await here.until_loading(first)
        second = await here.run(key="second")
        third = await here.run(key="third", overlap_policy="Skip")

    for result in (second, third):
        assert (result.result, result.rows_loaded) == ("Skipped", 0)
        assert result.error is not None
        assert "run first of this pipeline is still open" in result.error.message
    assert (await first.result()).result == "Succeeded"
    assert here.query(
        "SELECT result, execution FROM tidemill.runs WHERE pipeline = '{name}' AND run_key = 'second'"
    ) == [["Skipped", "0"]]
    assert (await here.run(key="second")).result == "Succeeded"


async def test_buffering_one_and_all(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    async with here.locked():
        first = await here.start(key="first")
        await here.until_loading(first)
        waiting = [await here.start(key="second", overlap_policy="BufferOne")]
        await eventually(lambda: places(here, "NOT holding") == 1)
        refused = await here.run(key="refused", overlap_policy="BufferOne")
        for place, key in ((2, "third"), (3, "fourth")):
            waiting.append(await here.start(key=key, overlap_policy="BufferAll"))
            await eventually(lambda place=place: places(here, "NOT holding") == place)

    assert refused.result == "Skipped"
    assert [(await handle.result()).result for handle in (first, *waiting)] == ["Succeeded"] * 4
    assert here.query(
        "SELECT run_key FROM tidemill.runs WHERE pipeline = '{name}' AND result = 'Succeeded' ORDER BY started_at"
    ) == [["zero"], ["first"], ["second"], ["third"], ["fourth"]]


@pytest.mark.parametrize(
    ("policy", "status", "recorded"),
    [
        ("CancelOther", WorkflowExecutionStatus.CANCELED, "Cancelled"),
        ("TerminateOther", WorkflowExecutionStatus.TERMINATED, "Failed"),
    ],
)
async def test_the_newcomer_wins(here: Bench, policy: str, status: WorkflowExecutionStatus, recorded: str) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    async with here.locked():
        first = await here.start(key="first")
        await here.until_loading(first)
        second = await here.start(key="second", overlap_policy=policy)
        await eventually(
            lambda: here.query("SELECT 1 FROM tidemill.runs WHERE pipeline = '{name}' AND run_key = 'second'")
        )

    assert (await second.result()).result == "Succeeded"
    assert (await first.describe()).status == status
    assert here.query("SELECT result FROM tidemill.runs WHERE pipeline = '{name}' AND run_key = 'first'") == [
        [recorded]
    ]


async def test_allow_all(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    async with here.locked():
        handles = [await here.start(key=key, overlap_policy="AllowAll") for key in ("first", "second")]
        await eventually(lambda: places(here, "holding") == 2)

    assert [(await handle.result()).result for handle in handles] == ["Succeeded", "Succeeded"]
    assert here.query("SELECT count(*) FROM {table}") == [["300"]]


async def test_a_holder_that_was_terminated_is_evicted(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    async with here.locked():
        first = await here.start(key="first")
        await here.until_loading(first)
        await first.terminate("by hand")

    assert (await here.run(key="second")).result == "Succeeded"
    assert here.query(
        "SELECT result, error_type, summary ->> 'result', summary #>> '{error,type}', chunks > 0 FROM tidemill.runs "
        "WHERE pipeline = '{name}' AND run_key = 'first'"
    ) == [["Failed", "Terminated", "Failed", "Terminated", "t"]]
    assert here.query(
        "SELECT reason, cause, error FROM tidemill.dead_letters WHERE pipeline = '{name}' AND run_key = 'first'"
    ) == [["RunFailed", "Terminated", "Terminated: the workflow was closed from outside"]]


@contextlib.asynccontextmanager
async def housekeeping(here: Bench) -> AsyncIterator[tuple[Metastore, PoolConnections]]:
    """What a worker's housekeeping works with."""
    sinks = await asyncpg.create_pool(here.pool.database.dsn, min_size=0)
    dsn = SecretKeyRef(name="warehouse", key="dsn")
    connections = PoolConnections(
        (Connection(name="warehouse", postgres=PostgresConnection(dsn=SecretValue(secret_key_ref=dsn))),),
        here.pool.secrets,
        ensure,
    )
    await connections.postgres("warehouse")
    try:
        yield Metastore("warehouse", lambda: asyncio.sleep(0, sinks)), connections
    finally:
        sinks.terminate()
        await connections.close()


async def test_what_terminated_runs_have_staged_goes_when_they_are_known_to_have_ended(here: Bench) -> None:
    for file in "ab":
        here.write(HEADER + GOOD, f"{file}.csv")
    spec = here.spec(disposition="Merge")
    await here.run(spec, key="zero")
    blocked = await asyncpg.connect(here.pool.database.dsn)
    transaction = blocked.transaction()
    await transaction.start()
    await blocked.execute(f"LOCK TABLE public.{here.name} IN ACCESS EXCLUSIVE MODE")
    first = await here.start(spec, key="first")
    staged = "SELECT count(*) FROM pg_tables WHERE schemaname = 'tidemill' AND tablename LIKE 's\\_%'"
    await eventually(lambda: here.query(staged) == [["1"]])
    waits = "FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
    await eventually(lambda: here.query(f"SELECT count(*) {waits}") == [["1"]])
    await first.terminate("by hand")
    here.query(f"SELECT pg_terminate_backend(pid) {waits}")
    await transaction.rollback()
    await blocked.close()
    async with housekeeping(here) as (store, connections):
        await forget_staging(store, connections)
    assert here.query(staged) == [["1"]], "nobody knows yet that the run has ended"
    here.query(
        "UPDATE tidemill.runs SET result = 'Failed', finished_at = now() "
        "WHERE pipeline = '{name}' AND result = 'Running'"
    )
    here.query(f"CREATE TABLE tidemill.s_{'0' * 48} (of_another_pool int)")
    async with housekeeping(here) as (store, connections):
        await forget_staging(store, connections)

    assert here.query(staged) == [["1"]]
    here.query(f"DROP TABLE tidemill.s_{'0' * 48}; DELETE FROM tidemill.slots WHERE run_key = 'first'")


FAR = "00000000-0000-0000-0000-000000000001"


async def held_elsewhere(here: Bench) -> None:
    """A run that holds the slot, of the time before the pool was moved to this Temporal."""
    async with here.locked():
        first = await here.start(key="far")
        await here.until_loading(first)
        await first.terminate("stands for a run in another Temporal")
    for table, more in (("slots", ", temporal = 'temporal.elsewhere:7233/default'"), ("runs", "")):
        here.query(
            f"UPDATE tidemill.{table} SET workflow_id = 'far', workflow_run_id = '{FAR}'{more} "
            "WHERE run_key = 'far' AND uid = (SELECT uid FROM tidemill.runs WHERE pipeline = '{name}' LIMIT 1)"
        )


async def test_the_bookkeeping_of_old_runs_goes_and_their_keys_stay_what_they_were(here: Bench) -> None:
    spec = here.spec(disposition="Merge")
    assert (await here.run(spec, key="first")).result == "Failed", "there is no file"
    here.write(HEADER + GOOD)
    assert (await here.run(spec, key="first")).execution == 2
    assert (await here.run(spec, key="rejecting")).result == "Succeeded"
    here.write(HEADER + GOOD + "x,1,bad\n")
    assert (await here.run(spec, key="letters")).rows_rejected == 1
    assert (await here.run(spec, key="young")).result == "Succeeded"
    appends = here.spec()
    appends["sinks"][0]["postgres"] = {"table": f"public.{here.name}_appended", "createTable": "IfMissing"}
    assert (await here.run(appends, key="appended", parameters={})).result == "Succeeded"
    here.query(
        "UPDATE tidemill.runs SET finished_at = now() - interval '91 days' "
        "WHERE pipeline = '{name}' AND run_key <> 'young'"
    )
    here.query("DELETE FROM tidemill.dead_letters WHERE pipeline = '{name}' AND run_key IN ('first', 'appended')")
    mine = "uid = (SELECT uid FROM tidemill.runs WHERE pipeline = '{name}' LIMIT 1)"
    kept = (
        "SELECT run_key, execution, spec IS NOT NULL, summary IS NOT NULL FROM tidemill.runs "
        f"WHERE {mine} ORDER BY 1, 2"
    )
    # Letters of a pipeline that has none any more can't be replayed again; those of another one can.
    here.query("INSERT INTO tidemill.dead_letter_keeping VALUES ('without', 0) ON CONFLICT DO NOTHING")
    for uid, key, age in (("'without'", "old", 91), ("'without'", "young", 1), ("uid", "old", 91)):
        here.query(
            f"INSERT INTO tidemill.replayed SELECT {uid}, 'out', '{key}', 'r', 1, now() - interval '{age} days' "
            "FROM tidemill.runs WHERE pipeline = '{name}' AND run_key = 'young'"
        )

    async with housekeeping(here) as (store, connections):
        await forget_runs(store, connections)
        once = here.query(kept)
        await forget_runs(store, connections)

    assert (
        here.query(kept)
        == once
        == [
            ["appended", "1", "f", "t"],
            ["first", "2", "f", "t"],
            ["letters", "1", "t", "t"],
            ["rejecting", "1", "f", "t"],
            ["young", "1", "t", "t"],
        ]
    )
    ledger = f"SELECT DISTINCT run_key FROM tidemill.ledger WHERE {mine} ORDER BY 1"
    assert here.query(ledger) == [["appended"], ["letters"], ["young"]]
    assert here.query(f"SELECT run_key FROM tidemill.chunks WHERE {mine} GROUP BY 1 ORDER BY 1") == [
        ["letters"],
        ["young"],
    ]
    replayed = f"SELECT uid = 'without', letter_key FROM tidemill.replayed WHERE uid = 'without' OR {mine} ORDER BY 1"
    assert here.query(replayed) == [["f", "old"], ["t", "young"]]
    assert here.query(f"SELECT count(*) FROM tidemill.fence WHERE {mine}") == [["5"]]
    again = await here.run(spec, key="first")
    assert (again.result, again.execution) == ("Skipped", 2)
    assert (await here.run(spec, key="first", reprocess="Completed")).execution == 3
    assert here.query("SELECT count(*) FROM {table}") == [["100"]]
    assert (await here.run(appends, key="appended", reprocess="Completed")).rows_loaded == 100
    assert here.query("SELECT count(*) FROM {table}_appended") == [["100"]]


async def test_a_holder_in_another_temporal_is_not_taken_for_closed(here: Bench) -> None:
    """Nobody here can tell; until its timeout is over, and a while."""
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    await held_elsewhere(here)

    second = await here.run(key="second", overlap_policy="Skip")

    assert second.result == "Skipped"
    assert second.error is not None
    assert "run far of this pipeline is still open" in second.error.message
    far = "SELECT result FROM tidemill.runs WHERE pipeline = '{name}' AND run_key = 'far'"
    assert here.query(far) == [["Running"]]
    third = await here.start(key="third", overlap_policy="TerminateOther")
    await eventually(lambda: places(here, "NOT holding") == 1)

    here.query(
        "UPDATE tidemill.runs SET started_at = now() - interval '2 hours 16 minutes' "
        "WHERE pipeline = '{name}' AND run_key = 'far'"
    )
    await third.signal(SLOT_FREE)

    assert (await third.result()).result == "Succeeded"
    assert here.query(far) == [["Failed"]]


async def test_a_run_that_waits_in_another_temporal_is_in_nobodys_way(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    here.query(
        "INSERT INTO tidemill.slots (uid, workflow_id, workflow_run_id, run_key, holding, temporal) "
        f"SELECT uid, 'far', '{FAR}', 'far', false, 'temporal.elsewhere:7233/default' FROM tidemill.runs "
        "WHERE pipeline = '{name}'"
    )

    assert (await here.run(key="second", overlap_policy="BufferAll")).result == "Succeeded"


async def test_heartbeats_carry_the_chunk_and_the_query_the_run(here: Bench) -> None:
    here.write(HEADER + GOOD)
    await here.run(key="zero")
    async with here.locked():
        handle = await here.start(key="first")
        await here.until_loading(handle)
        progress = await handle.query(PROGRESS_QUERY, result_type=RunProgress)
    await handle.result()

    assert (progress.phase, progress.chunks_done, progress.chunks_total) == ("Loading", 0, 1)
    assert progress.bytes_total == len(GOOD)


def places(here: Bench, condition: str) -> int:
    """Places at this pipeline's slot."""
    uid = f"{here.pool.installation}-{here.name}"
    return int(here.query(f"SELECT count(*) FROM tidemill.slots WHERE uid = '{uid}' AND {condition}")[0][0])
