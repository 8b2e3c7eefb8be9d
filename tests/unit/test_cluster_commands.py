"""What `kubectl tidemill` makes of objects and of kubectl's words, as tables; and that its start costs little."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
import typer

from tests.support.commands import tidemill
from tests.support.kubernetes import ROOT
from tidemill_cli.cluster import explain, overview, tell
from tidemill_cli.cluster.asking import new_run, parameters
from tidemill_cli.cluster.describe import describe
from tidemill_cli.cluster.kubectl import ClusterError, Object, _documents, _error_of
from tidemill_cli.cluster.options import seconds
from tidemill_cli.cluster.runs import failed, run_of, runs_of
from tidemill_cli.completion import complete

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def pipeline(**status: Any) -> Object:
    return {
        "kind": "DataPipeline",
        "metadata": {"name": "flights", "namespace": "travel", "generation": 2},
        "spec": {"workerPoolRef": {"name": "etl"}},
        "status": {"observedGeneration": 2, **status},
    }


def conditions(**told: str) -> list[Object]:
    """`Ready="True Scheduled"` as a condition."""
    pairs = ((name, text.split()) for name, text in told.items())
    return [{"type": name, "status": s, "reason": r, "message": f"{r} it is"} for name, (s, r) in pairs]


STATES: dict[str, tuple[Object, str]] = {
    "well": (pipeline(conditions=conditions(Ready="True Scheduled")), "Well"),
    "running": (pipeline(conditions=conditions(Ready="True Scheduled"), activeRuns=[{"key": "a"}]), "Running"),
    "suspended": (pipeline(conditions=conditions(Ready="True Suspended")), "Suspended"),
    "paused": (pipeline(conditions=conditions(Ready="True Scheduled", Paused="True Annotation")), "Paused"),
    "waiting": (pipeline(conditions=conditions(Ready="False WaitingForPool")), "Waiting"),
    "failing": (pipeline(conditions=conditions(Ready="True Scheduled", Succeeding="False Failed")), "Failing"),
    "failing, and waits": (
        pipeline(conditions=conditions(Ready="False WaitingForPool", Succeeding="False Failed")),
        "Failing",
    ),
    "stalled": (
        pipeline(conditions=conditions(Ready="False InvalidSQL", Stalled="True InvalidSQL", Succeeding="False Failed")),
        "Stalled",
    ),
    "edited": (pipeline(observedGeneration=1, conditions=conditions(Ready="True Scheduled")), "Unseen"),
    "new": (pipeline(observedGeneration=-1), "Unseen"),
    "of an old server": ({**pipeline(), "status": {}}, "Unseen"),
}


@pytest.mark.parametrize("name", STATES)
def test_how_an_object_stands(name: str) -> None:
    manifest, state = STATES[name]
    assert overview.standing(manifest).state == state


def test_what_is_going_says_so() -> None:
    manifest = pipeline(conditions=conditions(Ready="False WaitingForRuns"))
    manifest["metadata"]["deletionTimestamp"] = "2026-05-01T11:00:00Z"
    found = overview.standing(manifest)
    assert (found.state, found.reason, found.wrong) == ("Deleting", "WaitingForRuns", True)


def test_the_summary_counts_what_is_wrong_first() -> None:
    found = overview.standings(manifest for manifest, _ in STATES.values())
    assert overview.summary(found) == (
        "11 pipelines: 1 stalled, 2 failing, 3 unseen, 1 waiting, 1 paused, 1 suspended, 1 running, 1 well"
    )
    assert overview.summary([]) == "nothing of Tidemill here"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("150s", 150),
        ("2m", 120),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1500ms", 1.5),
        ("90", 90),
        ("1.5", 1.5),
        (3600, 3600),
    ],
)
def test_how_long_to_wait_is_written_as_for_kubectl(text: str | float, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "s", "150x", "2m3", "2 m", "0", "500ms", "-1", "-2m", "nan", "inf", "1d"])
def test_what_is_no_time_to_wait(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no time of at least a second: write it like 150s, 2m or 1h30m"):
        seconds(text)


@pytest.mark.parametrize(
    "command", ["run flights", "backfill flights --start 2026-01-01 --end 2026-01-02", "rerun flights"]
)
def test_commands_that_wait_take_a_duration(command: str) -> None:
    nowhere = {"KUBECONFIG": "/nonexistent"}
    good = tidemill(*command.split(), "--wait", "--timeout", "150s", environment=nowhere)
    assert good.code == tell.FAILED, "there is no cluster, and all else is well"
    wrong = tidemill(*command.split(), "--wait", "--timeout", "2 weeks", environment=nowhere)
    assert wrong.code == 2
    assert "--timeout" in wrong.err


def asked(name: str, phase: str, at: int, key: str | None = None) -> Object:
    """A DataPipelineRun that began at that minute."""
    told = {
        "key": key or name,
        "result": phase,
        "workflowId": f"i/travel/flights/{name}",
        "startedAt": f"2026-05-01T10:{at:02}:00Z",
    }
    metadata = {"name": name, "creationTimestamp": f"2026-05-01T10:{at:02}:00Z"}
    return {"metadata": metadata, "spec": {"pipelineRef": {"name": "flights"}}, "status": {"phase": phase, "run": told}}


def test_each_run_stands_once_the_newest_first() -> None:
    scheduled = {
        "key": "2026-05-01T10:05:00Z",
        "result": "Failed",
        "workflowId": "s",
        "startedAt": "2026-05-01T10:05:00Z",
    }
    hand = asked("a", "Running", 7)
    other = {**asked("z", "Running", 8), "spec": {"pipelineRef": {"name": "others"}}}
    status = pipeline(lastRun=scheduled, activeRuns=[hand["status"]["run"]])
    found = runs_of(status, [hand, asked("b", "Succeeded", 1), other])
    assert [(run.key, run.name) for run in found] == [("a", "a"), ("2026-05-01T10:05:00Z", ""), ("b", "b")]


def test_a_run_that_nobody_has_seen_is_pending() -> None:
    new = {"metadata": {"name": "a", "creationTimestamp": "2026-05-01T10:00:00Z"}, "spec": {"runKey": "k"}}
    assert (run_of(new).result, run_of(new).key) == ("Pending", "k")


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], []),
        ([("a", "Failed", "k")], ["k"]),
        ([("a", "Failed", "k"), ("b", "Succeeded", "k")], []),
        ([("a", "Failed", "k"), ("b", "Running", "k")], []),
        ([("a", "Failed", "k"), ("b", "Failed", "k")], ["k"]),
        ([("a", "Failed", "k"), ("b", "Cancelled", "k")], []),
        ([("a", "Failed", "k"), ("b", "Failed", "l"), ("c", "Skipped", "m")], ["k", "l"]),
    ],
)
def test_what_is_to_be_processed_again(history: list[tuple[str, str, str]], expected: list[str]) -> None:
    by_hand = [asked(name, phase, at, key) for at, (name, phase, key) in enumerate(history)]
    assert [run.key for run in failed(runs_of(pipeline(), by_hand))] == expected


def test_the_name_of_a_run_fits() -> None:
    made = new_run("x" * 250 + ".y", {}, NOW)
    assert len(made["metadata"]["name"]) == 253
    assert made["metadata"]["name"].startswith("xxx")
    assert new_run("a", {"p": 1}, NOW, name="mine", run_key="k") == {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "DataPipelineRun",
        "metadata": {"name": "mine"},
        "spec": {"pipelineRef": {"name": "a"}, "runKey": "k", "parameters": {"p": 1}},
    }


def test_a_parameters_value_may_hold_anything() -> None:
    declared = pipeline()
    declared["spec"]["parameters"] = [{"name": "q"}]
    assert parameters(declared, ["q=a=b c"]) == {"q": "a=b c"}
    assert parameters(declared, ["q="]) == {"q": ""}


WORDS = {
    'Error from server (NotFound): datapipelines.tidemill.dev "x" not found': (
        "NotFound",
        'datapipelines.tidemill.dev "x" not found: `kubectl tidemill status` shows what there is, -n where',
    ),
    'error: the server doesn\'t have a resource type "datapipelines"': (
        "",
        "this cluster doesn't have Tidemill's kinds",
    ),
    'Error from server (AlreadyExists): error when creating "STDIN": dplrun "a" already exists': (
        "AlreadyExists",
        'dplrun "a" already exists',
    ),
    'The DataPipelineRun "a" is invalid: \n* spec.runKey: Invalid value\n* spec: too': (
        "Invalid",
        'The DataPipelineRun "a" is invalid: * spec.runKey: Invalid value * spec: too',
    ),
    "E1123 12:00:00.0 memcache.go\nThe connection to the server h:1 was refused - did you specify it?": (
        "Unreachable",
        "The connection to the server h:1 was refused",
    ),
    "": ("", "kubectl failed without a word"),
}


@pytest.mark.parametrize("words", WORDS)
def test_kubectls_words_on_one_line(words: str) -> None:
    reason, said = WORDS[words]
    error = _error_of(words)
    assert error.reason == reason
    assert str(error).startswith(said)
    assert "\n" not in str(error)


def test_documents_come_one_by_one() -> None:
    events = [{"type": "ADDED", "object": {"a": {"b": "}"}}}, {"type": "MODIFIED", "object": {}}]
    text = "\n".join([json.dumps(events[0], indent=4), json.dumps(events[1])]) + "\n"
    assert list(_documents(text.splitlines(keepends=True))) == events


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("datapipeline", ""),
        ("dpl.spec.sources", "spec.sources"),
        ("DataPipeline.spec.sources[0].files", "spec.sources[].files"),
        ("datapipelines.spec.sources[].files.path", "spec.sources[].files.path"),
        ("wpool.status.replicas", "status.replicas"),
    ],
)
def test_fields_are_found(path: str, expected: str) -> None:
    assert explain.look_up(path)[1] == expected


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("deployment.spec", "deployment is no kind: choose datapipeline"),
        ("dpl.spec.source", "did you mean spec.sources?"),
        ("dpl.spec.sources.zzzzzz", "spec.sources has name, "),
        ("dpl.zzzzzzz", "it has spec, status"),
    ],
)
def test_fields_that_there_are_not(path: str, said: str) -> None:
    with pytest.raises(ClusterError) as raised:
        explain.look_up(path)
    assert said in str(raised.value)


def test_every_field_has_its_default_and_all_below() -> None:
    kind, path = explain.look_up("dpl.spec.schedule")
    plain, deep = ("\n".join(explain.text(kind, path, deep=each)) for each in (False, True))
    assert 'default `"10m"`' in plain
    assert "dayOfMonth" not in plain
    assert "dayOfMonth" in deep


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (61, "1m1s"),
        (600, "10m"),
        (3600, "1h"),
        (5400, "1h30m"),
        (90_000, "1d1h"),
        (1e6, "11d"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert tell.span(seconds) == text


def test_moments() -> None:
    assert tell.ago("2026-05-01T11:59:00Z", NOW) == "1m"
    assert tell.ago("2026-05-01T12:30:00Z", NOW) == "in 30m"
    assert tell.ago(None, NOW) == ""
    assert tell.took({"startedAt": "2026-05-01T11:00:00Z"}, NOW) == "1h"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"status", "run", "dev"}),
        (["res"], {"resume"}),
        (["status", "-o", "y"], {"yaml"}),
        (["lint", ""], None),
        (["lint", "-o", ""], {"text", "json"}),
        (["explain", "workerpool.spec.repl"], {"workerpool.spec.replicas"}),
    ],
)
def test_completion_without_a_cluster(words: list[str], expected: set[str] | None) -> None:
    found = complete(words)
    if expected is None:
        assert found is None
    elif words:
        assert set(found or ()) == expected
    else:
        assert expected <= set(found or ())


HEAVY = ("pydantic", "rich", "ruamel", "duckdb", "temporalio", "kubernetes", "aiohttp", "cryptography", "asyncpg")


def test_help_starts_without_what_it_does_not_need() -> None:
    """Some 100 ms; each of these would add as much again or more."""
    code = (
        "import sys; from tidemill_cli.app import app; app(['--help'], standalone_mode=False); "
        f"print(*(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "status" in done.stdout
    assert done.stderr.split() == []


def test_a_scaled_pool_shows_what_was_decided() -> None:
    scaling = {"reason": "Backlog", "message": "12 tasks wait: 3 workers."}
    manifest = {
        "kind": "WorkerPool",
        "metadata": {"name": "etl", "namespace": "travel", "creationTimestamp": "2026-05-01T12:00:00Z"},
        "spec": {"replicas": 1, "connections": []},
        "status": {"readyReplicas": 2, "desiredReplicas": 3, "scaling": scaling},
    }

    assert overview.standing(manifest).workers == "2/3"
    assert overview.standing({**manifest, "status": {}}).workers == "0/1"
    lines = list(describe(manifest, (), (), datetime.now(UTC)))
    assert "Workers: 2 ready of 3" in lines
    assert "Scaling: Backlog: 12 tasks wait: 3 workers." in lines
