"""`tidemill dev` from the command line: real components, real data, real signals."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import Database
from tests.support.kubernetes import ROOT
from tests.support.sessions import Ended, gone, session, tidemill

pytestmark = pytest.mark.timeout(600)

EXAMPLE = ROOT / "examples" / "flights"
READ, LOADED, REJECTED = 336_776, 335_596, 1_180
LANDED, PLAUSIBLE = 1_175, 5


def pipeline(name: str = "people", **spec: Any) -> dict[str, Any]:
    """A pipeline from people.csv to public.people; one row is no number."""
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "DataPipeline",
        "metadata": {"name": name},
        "spec": {
            "workerPoolRef": {"name": "etl"},
            "sources": [
                {
                    "name": "raw",
                    "connection": "landing",
                    "files": {"path": f"{name}.csv", "format": {"csv": {}}},
                    "columns": [{"name": "id", "type": "int32", "required": True}, {"name": "name", "type": "string"}],
                }
            ],
            "sinks": [
                {
                    "name": "out",
                    "input": "raw",
                    "connection": "warehouse",
                    "postgres": {"table": f"public.{name}"},
                    "writeDisposition": "Append",
                }
            ],
            **spec,
        },
    }


def project(folder: Path, *pipelines: dict[str, Any]) -> Path:
    """A folder with manifests, a file to read, and where it is; no WorkerPool."""
    folder.mkdir(exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "people.csv").write_text("id,name\n1,Ada\ntwo,Bob\n3,Cem\n", encoding="utf-8")
    (folder / "tidemill.dev.yaml").write_text("connections: {landing: {files: ./data}}\n", encoding="utf-8")
    for each in pipelines:
        (folder / f"{each['metadata']['name']}.json").write_text(json.dumps(each), encoding="utf-8")
    return folder


def rows(data_dir: Path, connection: str, query: str) -> list[list[str]]:
    """What a query gives, by `tidemill psql`."""
    done = tidemill("psql", "--data-dir", data_dir, connection, "--csv", "-t", "-c", query)
    assert done.code == 0, done.stderr
    return list(csv.reader(done.stdout.splitlines()))


def the_run(ended: Ended) -> dict[str, Any]:
    """The only run of a session."""
    (run,) = ended.runs
    return run


def test_the_example_gives_the_same_rows_however_often_it_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    counts: dict[str, Any] = {"rowsRead": READ, "rowsLoaded": LOADED, "rowsRejected": REJECTED}
    counts |= {"namespace": "travel", "pipeline": "flights", "result": "Succeeded", "error": None}

    for execution in (1, 2):
        ended = tidemill("dev", EXAMPLE, "--once", "--output", "json", "--data-dir", state)

        assert ended.code == 0, ended.stderr
        run = the_run(ended)
        assert {name: run[name] for name in counts} == counts
        assert 0 < run["durationSeconds"] < 120
        letters = "SELECT rule, count(*) FROM tidemill.dead_letters, unnest(rules) rule GROUP BY 1 ORDER BY 1"
        found = {rule: int(count) for rule, count in rows(state, "warehouse", letters)}
        assert found == {"landed": LANDED * execution, "plausible-speed": PLAUSIBLE * execution}
        check = """SELECT count(*), count(DISTINCT (year, month, day, carrier, flight, origin)), count(airline),
            count(*) FILTER (WHERE dest_name IS NULL) > 0, sum(distance) FROM flights"""
        assert [row[:4] for row in rows(state, "warehouse", check)] == [[str(LOADED), str(LOADED), str(LOADED), "t"]]

    first = "SELECT row_text FROM tidemill.dead_letters ORDER BY line LIMIT 1"
    assert rows(state, "warehouse", first)[0][0].startswith("2013,1,1,")


def test_broken_manifests_are_refused_before_anything_starts(tmp_path: Path) -> None:
    wrong = pipeline(execution={"parallelism": 0}, suspended=True)
    folder = project(tmp_path / "project", wrong)
    state = tmp_path / "state"

    ended = tidemill("dev", folder, "--once", "--data-dir", state)

    assert ended.code == 1
    assert "spec.execution.parallelism" in ended.stderr
    assert "spec.suspended" in ended.stderr
    assert not state.exists()


def test_lint_and_dev_give_one_verdict(tmp_path: Path) -> None:
    wrong = pipeline(schedule={"crons": ["61 * * * *"]})
    wrong["spec"]["sinks"][0]["input"] = "rav"
    folder = project(tmp_path / "project", wrong)

    lint = tidemill("lint", folder)
    dev = tidemill("dev", folder, "--once")

    assert (lint.code, dev.code) == (1, 1)
    for field in ("spec.schedule.crons[0]", "spec.sinks[0].input"):
        assert field in lint.stdout
        assert field in dev.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("lint", "examples"), 0, ""),
        (("lint", "nowhere"), 2, "nowhere"),
        (("lint",), 2, "Usage"),
        (("dev", "nowhere", "--once"), 2, "nowhere: there is no such file or folder"),
        (("dev", "examples/flights", "--once", "--param", "carrier"), 2, "name=value"),
        (("dev", "examples/flights", "--once", "--param", "x=1"), 2, "declared are: carrier"),
        (("dev", "examples/flights/pool.yaml", "--once"), 1, "there is no DataPipeline"),
        (("dev", "--output", "xml", "examples"), 2, "xml"),
        (("psql", "--data-dir", "nowhere", "warehouse"), 1, "nowhere holds no data"),
        (("nothing",), 2, "nothing"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_exit_codes(arguments: tuple[str, ...], code: int, said: str) -> None:
    ended = tidemill(*arguments)

    assert ended.code == code, ended.stderr
    assert said in ended.stderr


def test_one_failing_pipeline_fails_the_session_and_not_the_others(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", pipeline(), pipeline("missing"))

    ended = tidemill("dev", folder, "--once", "--output", "json")

    assert ended.code == 1
    results = {run["pipeline"]: run for run in ended.runs}
    assert results["people"]["result"] == "Succeeded"
    assert (results["people"]["rowsLoaded"], results["people"]["rowsRejected"]) == (2, 1)
    assert results["missing"]["result"] == "Failed"
    assert results["missing"]["error"]["type"] == "SourceMissing"
    assert "missing.csv" in results["missing"]["error"]["message"]


def test_schedules_go_on_until_ctrl_c_and_nothing_is_left(tmp_path: Path) -> None:
    often = pipeline(schedule={"intervals": [{"every": "2s"}]})
    folder = project(tmp_path / "project", often)
    state = tmp_path / "state"
    before = 0

    for _ in range(2):  # the second session continues the first one's state
        with session("dev", folder, "--output", "json", "--data-dir", state) as running:
            runs = running.wait_for_runs(3)
            dsn = next(word for word in running.wait_for("warehouse: ").split() if word.startswith("postgresql://"))
            psql = running.wait_for("warehouse: ").split()[1]
            assert os.system(f"{psql} {dsn} -q -c 'SELECT 1' >{os.devnull}") == 0  # noqa: S605 - as it is printed
            refused = tidemill("dev", folder, "--once", "--data-dir", state)
            tree = running.tree()
            running.child.send_signal(signal.SIGINT)

            assert running.end() == 130
        gone(tree)
        # On a busy machine a run can take longer than the interval; the overlap policy then skips the next.
        succeeded = [run for run in runs if run["result"] == "Succeeded"]
        assert len(succeeded) >= 1, runs
        assert {run["result"] for run in runs} <= {"Succeeded", "Skipped"}, runs
        assert len({run["runKey"] for run in runs}) == len(runs)
        assert refused.code == 1
        assert "in use by another `tidemill dev`" in refused.stderr
        count = int(rows(state, "warehouse", "SELECT count(*) FROM people")[0][0])
        assert count >= before + 2 * len(succeeded)
        before = count


def test_rows_go_to_a_postgres_that_runs_elsewhere(tmp_path: Path, database: Database) -> None:
    folder = project(tmp_path / "project", pipeline(parameters=[{"name": "least", "type": "integer", "default": 0}]))
    settings = "connections: {landing: {files: ./data}, warehouse: {postgres: {dsnEnv: WAREHOUSE_DSN}}}"
    (folder / "tidemill.dev.yaml").write_text(settings, encoding="utf-8")
    state = tmp_path / "state"
    command = ("dev", folder, "--once", "--data-dir", state, "--param", "least=2")

    ended = tidemill(*command, environment={"WAREHOUSE_DSN": database.dsn})

    assert ended.code == 0, ended.stderr
    assert database.query("SELECT id, name FROM people ORDER BY id") == [["1", "Ada"], ["3", "Cem"]]
    letters = "SELECT source, line, row_text FROM tidemill.dead_letters"
    assert rows(state, "tidemill-metastore", letters) == [["raw", "3", "two,Bob"]]
    assert rows(state, "tidemill-metastore", "SELECT parameters FROM tidemill.runs") == [['{"least": "2"}']]
    assert database.dsn not in ended.stdout + ended.stderr
    logs = "".join(file.read_text(encoding="utf-8", errors="replace") for file in state.rglob("*.log"))
    assert database.server.password not in logs


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_ctrl_c_while_parts_start_leaves_nothing(tmp_path: Path, times: int) -> None:
    folder = project(tmp_path / "project", pipeline())

    with session("dev", folder) as running:
        running.wait_for("starting the worker")
        tree = running.tree()
        for _ in range(times):
            running.child.send_signal(signal.SIGINT)

        assert running.end() == 130
    gone(tree)
    assert "Traceback" not in "".join(running.stderr)


@pytest.mark.parametrize(
    ("word", "name"),
    [("tidemill_worker", "worker"), ("start-dev", "temporal"), ("postgres -D", "postgres")],
)
def test_a_part_that_dies_is_named_and_the_rest_is_stopped(tmp_path: Path, word: str, name: str) -> None:
    folder = project(tmp_path / "project", pipeline())

    with session("dev", folder) as running:
        running.wait_for("Ctrl-C stops everything")
        tree = running.tree()
        os.kill(running.part(word), signal.SIGKILL)

        assert running.end() == 1
    gone(tree)
    said = "".join(running.stderr)
    assert f"{name} ended (signal SIGKILL)" in said
    assert f"{name}.log" in said


def test_a_killed_session_leaves_no_process_and_the_next_one_continues_its_run(tmp_path: Path) -> None:
    """An Append that was cut off in the middle ends with each row once."""
    source = (EXAMPLE / "pipeline.yaml").read_text(encoding="utf-8")
    head, _, tail = source.partition("  sinks:")
    sink = tail.replace("writeDisposition: Merge", "writeDisposition: Append").replace("      primaryKey", "      # ")
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLE, folder)
    (folder / "pipeline.yaml").write_text(f"{head}  sinks:{sink}", encoding="utf-8")
    state = tmp_path / "state"

    with session("dev", folder, "--once", "--output", "json", "--data-dir", state) as running:
        running.wait_for("travel/flights: loading")
        tree = running.tree()
        running.child.kill()
        running.end()
    gone(tree)
    assert not running.stdout
    ended = tidemill("dev", folder, "--once", "--output", "json", "--data-dir", state)

    assert ended.code == 0, ended.stderr
    run = the_run(ended)
    assert (run["result"], run["rowsLoaded"], run["rowsRejected"]) == ("Succeeded", LOADED, REJECTED)
    counts = "SELECT (SELECT count(*) FROM flights), (SELECT count(*) FROM tidemill.dead_letters)"
    assert rows(state, "warehouse", counts) == [[str(LOADED), str(REJECTED)]]


def test_a_step_over_all_rows_has_its_place_for_artifacts_by_itself(tmp_path: Path) -> None:
    step = {"name": "total", "inputs": ["raw"], "sql": {"query": "SELECT count(*) AS n, max(name) AS last FROM raw"}}
    sink = {
        "name": "totals",
        "input": "total",
        "connection": "warehouse",
        "postgres": {"table": "public.totals"},
        "writeDisposition": "Replace",
    }
    tolerance = {"errorTolerance": {"maxPercent": 50}}
    folder = project(tmp_path / "p", pipeline(steps=[step], sinks=[sink], execution=tolerance))

    ended = tidemill("dev", folder, "--once", "--output", "json", "--data-dir", tmp_path / "state")

    assert ended.code == 0, ended.stderr
    assert the_run(ended)["rowsLoaded"] == 1
    assert rows(tmp_path / "state", "warehouse", "SELECT n, last FROM totals") == [["2", "Cem"]]
    assert list((tmp_path / "state").rglob("*.parquet")) == []
