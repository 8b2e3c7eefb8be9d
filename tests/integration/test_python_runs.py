"""Python steps in runs: what a pool allows, what is said of failures, and that cancelled runs end all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from tests.support.fixtures import new_database, unique
from tests.support.kubernetes import ROOT
from tests.support.pipeline import HEADER, Bench
from tests.support.worker import Pool, eventually, runs_on
from tidemill_cli.dev.components.postgres import PostgresServer
from tidemill_cli.dev.components.temporal import TemporalServer

MODULE = "tests.support.author_steps"
ROWS = HEADER + "".join(f"{n},1,private {n}\n" for n in range(70, 75))


@pytest.fixture(scope="module")
def python_pool(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, temporal_server: TemporalServer
) -> Iterator[Pool]:
    """A pool whose worker finds the tests' functions, and may call these."""
    with new_database(postgres_server) as database:
        pool = Pool(tmp_path_factory.mktemp("pool"), database, unique("i"), temporal_server)
        pool.write(python={"allowedEntrypoints": [f"{MODULE}:*", "nowhere.*:*"]}, artifacts={"connection": "landing"})
        worker = pool.start("--modules", str(ROOT))
        yield pool
        assert worker.stop() == 0, worker.log.read_text()


@pytest.fixture
async def here(python_pool: Pool) -> AsyncIterator[Bench]:
    """A pipeline of this test's own."""
    async with runs_on(python_pool) as runs:
        made = Bench(runs)
        made.write(ROWS)
        yield made


def spec(here: Bench, function: str, **changes: Any) -> dict[str, Any]:
    """The pipeline with one step, which calls the function."""
    entrypoint = function if ":" in function else f"{MODULE}:{function}"
    step = {"name": "made", "inputs": ["raw"], "python": {"entrypoint": entrypoint}}
    found = here.spec(steps=[step], **changes)
    found["sinks"][0]["input"] = "made"
    return found


async def test_rejected_rows_are_dead_letters_of_the_step(here: Bench) -> None:
    result = await here.run(spec(here, "rejecting"))

    assert (result.result, result.rows_loaded, result.rows_rejected, result.rows_skipped) == ("Succeeded", 1, 3, 1)
    assert here.query("SELECT id FROM {table}") == [["70"]]
    assert here.query(
        "SELECT step, reason, rules, cause, line, row_text FROM tidemill.dead_letters WHERE pipeline = '{name}' "
        "ORDER BY line"
    ) == [
        ["made", "RuleBroken", "{odd}", "breaks odd: isn't even", "3", "71,1,private 71"],
        ["made", "RuleBroken", "{third}", "breaks third", "4", "72,1,private 72"],
        ["made", "RuleBroken", "{odd}", "breaks odd: isn't even", "5", "73,1,private 73"],
    ]


@pytest.mark.parametrize(
    ("function", "kind", "says"),
    [
        ("subprocess:run", "SpecError", "spec.steps[0].python.entrypoint: the pool doesn't allow subprocess:run"),
        ("run", "PythonFailed", "step made: tests.support.author_steps:run isn't a function of tests.support"),
        ("nowhere.steps:enrich", "PythonFailed", "step made: there is no module nowhere"),
        ("quoting", "PythonFailed", "step made: tests.support.author_steps:quoting raised ValueError (at "),
        (
            "down",
            "PythonUnavailable",
            "step made: tests.support.author_steps:down: the service of rates doesn't answer",
        ),
    ],
)
async def test_a_function_that_fails_fails_the_run(here: Bench, function: str, kind: str, says: str) -> None:
    once = {"retry": {"maximumAttempts": 1}}
    result = await here.run(spec(here, function, execution=once))

    assert result.result == "Failed"
    assert result.error is not None
    assert (result.error.type, result.error.message[: len(says)]) == (kind, says)
    assert "private" not in result.model_dump_json()
    if kind != "SpecError":
        assert result.error.step == "made"
    log = here.pool.processes[0].log.read_text()
    assert "private" not in log


@pytest.mark.parametrize("mode", ["Batch", "Whole"])
async def test_a_cancelled_run_ends_though_its_function_doesn_t(here: Bench, mode: str) -> None:
    log = here.pool.processes[0].log
    before = log.read_text().count("deaf has begun")
    wanted = spec(here, "deaf" if mode == "Batch" else "deaf_over_all")
    wanted["steps"][0]["python"]["mode"] = mode
    handle = await here.start(wanted)
    await eventually(lambda: log.read_text().count("deaf has begun") > before)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    # The worker has lost no thread of its own.
    assert (await here.run(spec(here, "same"))).result == "Succeeded"
    assert here.query("SELECT count(*) FROM {table}") == [["5"]]


def shop(here: Bench, function: str = "orders", *, keep: bool = True, **changes: Any) -> dict[str, Any]:
    """A pipeline whose source is the function, with two sinks."""
    source = {
        "name": "shop",
        "python": {"entrypoint": f"{MODULE}:{function}", "keepState": keep},
        "columns": [{"name": "id", "type": "int64", "required": True}, {"name": "name", "type": "string"}],
    }
    sink = here.spec(disposition="Merge")["sinks"][0] | {"input": "shop"}
    other = sink | {"name": "other", "postgres": {"table": f"public.{here.name}_o", "createTable": "IfMissing"}}
    return here.spec(steps=[], sources=[source], sinks=[sink, other], **changes)


async def test_a_function_gives_what_is_new_and_again_for_a_key_that_runs_again(here: Bench) -> None:
    for run in range(3):
        result = await here.run(shop(here), key=f"run-{run}")
        assert (result.result, result.rows_read, result.rows_rejected) == ("Succeeded", 6, 1), result.error

    ids = [[str(number)] for number in range(15)]
    assert here.query("SELECT id FROM {table} ORDER BY id") == here.query("SELECT id FROM {table}_o ORDER BY id") == ids
    state = "SELECT sink, cursor FROM tidemill.watermarks WHERE pipeline = '{name}' ORDER BY sink"
    assert here.query(state) == [["other", '{"next": 15}'], ["out", '{"next": 15}']]
    assert here.query(
        "SELECT reason, cause, row_text FROM tidemill.dead_letters WHERE pipeline = '{name}' AND run_key = 'run-1'"
    ) == [["BadValue", "id is not of type int64", '{"id": "x", "name": "bad"}']]

    for execution in (2, 3):  # the second time the watermark has the key of the first
        again = await here.run(shop(here), key="run-1", reprocess="Completed")
        assert (again.result, again.execution, again.rows_read) == ("Succeeded", execution, 6), again.error
        assert here.query("SELECT count(*) FROM {table}") == [["15"]], "it began with the state that it had begun with"
        assert here.query(state) == [["other", '{"next": 15}'], ["out", '{"next": 15}']], "later runs have come further"


async def test_a_function_that_breaks_off_leaves_rows_and_state_as_they_were(here: Bench) -> None:
    await here.run(shop(here), key="first")
    once = {"retry": {"maximumAttempts": 1}}
    result = await here.run(shop(here, "unsteady", execution=once), key="second")
    assert result.error is not None
    assert (result.error.type, result.error.step) == ("PythonUnavailable", "shop")
    assert here.query("SELECT count(*) FROM {table}") == [["5"]]
    await here.run(shop(here), key="third")
    assert here.query("SELECT count(*), max(id) FROM {table}") == [["10", "9"]]


async def test_what_long_past_runs_have_left_is_forgotten(here: Bench) -> None:
    await here.run(shop(here), key="first")
    mine = "uid IN (SELECT uid FROM tidemill.watermarks WHERE pipeline = '{name}')"
    here.query(f"UPDATE tidemill.loaded_ranges SET loaded_at = now() - interval '91 days' WHERE {mine}")
    await here.run(shop(here), key="second")
    assert here.query(f"SELECT DISTINCT run_key FROM tidemill.loaded_ranges WHERE {mine}") == [["second"]]


async def test_without_a_state_each_run_begins_anew(here: Bench) -> None:
    for _ in range(2):
        assert (await here.run(shop(here, keep=False))).result == "Succeeded"
    assert here.query("SELECT count(*), max(id) FROM {table}") == [["5", "4"]]
    assert here.query("SELECT count(*) FROM tidemill.watermarks WHERE pipeline = '{name}'") == [["0"]]
