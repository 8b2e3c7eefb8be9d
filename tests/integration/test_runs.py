"""Whole runs on a real worker: from a `RunInput` to rows, counts, dead letters and endings."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from tests.support.pipeline import GOOD, HEADER, Bench, memo
from tests.support.worker import Runs
from tidemill_api.contract import PROGRESS_QUERY, RunProgress, StepCount


@pytest.fixture
def here(worker_runs: Runs) -> Bench:
    """A pipeline of this test's own."""
    return Bench(worker_runs)


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
