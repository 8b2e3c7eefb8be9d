"""`tidemill diff` with an author's rights, against a real API server. No operator runs: a diff needs none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Said, tidemill
from tests.support.fixtures import unique
from tests.support.flights import PIPELINE, POOL
from tests.support.kubernetes import ApiServer
from tidemill_cli.new.making import templates

RUN = """
apiVersion: tidemill.dev/v1alpha1
kind: DataPipelineRun
metadata: {name: by-hand, namespace: travel}
spec: {pipelineRef: {name: flights}}
"""
SCHEDULED = PIPELINE.replace("  parameters:", '  schedule: {crons: ["15 4 * * *"]}\n  parameters:')
Compared = Callable[..., Said]


@pytest.fixture(scope="module")
def namespace(crds: ApiServer) -> str:
    """A namespace with what is in the cluster: applied as people do, and defaulted by the server."""
    name = unique("diff")
    crds.kubectl("create", "namespace", name)
    for text in (POOL, SCHEDULED, RUN):
        crds.kubectl("apply", "-f", "-", stdin=text.replace("namespace: travel", f"namespace: {name}"))
    every = "datapipelines.tidemill.dev,datapipelineruns.tidemill.dev"
    others = "workerpools.tidemill.dev,temporalconnections.tidemill.dev"
    verbs = "--verb=get,list,watch"
    crds.kubectl("create", "role", "author", f"{verbs},create,update,patch,delete", f"--resource={every}", "-n", name)
    crds.kubectl("create", "role", "sees", verbs, f"--resource={others}", "-n", name)
    for role in ("author", "sees"):
        crds.kubectl("create", "rolebinding", role, f"--role={role}", "--user=diff-author", "-n", name)
    return name


@pytest.fixture
def compared(crds: ApiServer, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Compared:
    """The command on a manifest from standard input, as the author."""
    monkeypatch.setenv("KUBECTL", str(crds.assets / "kubectl"))
    config = crds.as_user("diff-author")

    def compare(text: str, *arguments: str) -> Said:
        here = text.replace("namespace: travel", f"namespace: {namespace}")
        said = tidemill("diff", "-f", "-", "--kubeconfig", config, *arguments, stdin=here)
        return Said(said.code, said.out.replace(namespace, "travel"), said.err.replace(namespace, "travel"))

    return compare


def test_nothing_would_change(compared: Compared) -> None:
    said = compared(f"{POOL}---{SCHEDULED}---{RUN}")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "WorkerPool travel/etl is as in the manifest (<stdin>:2)",
        "DataPipeline travel/flights is as in the manifest (<stdin>:11)",
        "DataPipelineRun travel/by-hand is as in the manifest (<stdin>:48)",
    ]


def test_a_default_written_out_is_no_change_and_a_field_left_out_is_its_default(compared: Compared) -> None:
    written = SCHEDULED.replace("  parameters:", "  suspend: false\n  deletionPolicy: Wait\n  parameters:").replace(
        "writeDisposition: Merge",
        "writeDisposition: Merge\n      postgres: {table: public.flights, createTable: IfMissing}",
    )
    written = written.replace("      postgres: {table: public.flights}\n", "")
    assert compared(written).code == 0
    by_hand = PIPELINE.replace("name: month, type: int32, required: true", "name: month, type: int32")
    said = compared(by_hand)
    assert said.code == 1
    assert "  ~ spec.sources[raw].columns[month].required: true -> false" in said.out.splitlines()
    assert "  then its Schedule (15 4 * * *) is deleted: it runs by hand only" in said.out.splitlines()


RULE = "month BETWEEN 1 AND 12"
CHANGES: list[tuple[str, str, list[str], list[str]]] = [
    (
        '"15 4 * * *"',
        '"15 5 * * *", "15 6 * * *"',
        ['~ spec.schedule.crons: ["15 4 * * *"] -> ["15 5 * * *", "15 6 * * *"]'],
        ["its Schedule goes from 15 4 * * * to 15 5 * * * (+1)", "runs that begin"],
    ),
    (
        "  parameters:",
        "  suspend: true\n  parameters:",
        ["~ spec.suspend: false -> true"],
        ["no scheduled run starts any more"],
    ),
    ("  parameters:", "  deletionPolicy: Cancel\n  parameters:", ['~ spec.deletionPolicy: "Wait" -> "Cancel"'], []),
    (
        RULE,
        f"{RULE[:-1]}1",
        [
            f'~ spec.steps[valid].validate.rules[month-in-range].expression: "{RULE}" -> "{RULE[:-1]}1"',
        ],
        ["its Schedule is brought up to date", "runs that begin from then on go by the new spec; open ones end by"],
    ),
    (
        "table: public.flights",
        "table: public.other",
        ['~ spec.sinks[named].postgres.table: "public.flights" -> "public.other"'],
        [
            "its Schedule is",
            "runs that begin",
            "sink named loads into another place; what is in warehouse public.flights",
        ],
    ),
    (
        "  parameters:",
        "  deadLetter: {retention: 7d}\n  parameters:",
        ['~ spec.deadLetter.retention: "30d" -> "7d"'],
        ["its Schedule is", "runs that begin", "dead letters older than 7d are removed"],
    ),
    (
        "metadata: {name: flights, namespace: travel}",
        "metadata: {name: flights, namespace: travel, labels: {team: a}}",
        ['+ metadata.labels.team: "a"'],
        [],
    ),
]


@pytest.mark.parametrize(("old", "new", "changes", "effects"), CHANGES, ids=lambda value: str(value)[:30])
def test_changes_of_a_pipeline_and_what_they_do(
    compared: Compared, old: str, new: str, changes: list[str], effects: list[str]
) -> None:
    assert old in SCHEDULED
    said = compared(SCHEDULED.replace(old, new, 1))
    assert said.code == 1, said
    first, *lines = said.out.splitlines()
    assert first == "DataPipeline travel/flights would change (<stdin>:2)"
    assert [line.strip() for line in lines if not line.startswith("  then ")] == changes
    told = [line.removeprefix("  then ") for line in lines if line.startswith("  then ")]
    assert len(told) == len(effects), told
    assert all(line.startswith(start) for line, start in zip(told, effects, strict=True)), told


POOLS = [
    ("  metastore:", "  replicas: 3\n  metastore:", "it goes from 1 to 3 workers"),
    ("  metastore:", "  concurrency: {activities: 3}\n  metastore:", "its workers roll: their configuration changes"),
    ("  metastore:", "  image: example.test/worker:2\n  metastore:", "its workers roll: their pods' template changes"),
    ("  metastore:", "  egress: {cidrs: [10.0.0.0/8]}\n  metastore:", "where its workers may connect to changes"),
]


@pytest.mark.parametrize(("old", "new", "effect"), POOLS, ids=lambda value: str(value)[:30])
def test_changes_of_a_pool_that_an_author_sees_but_may_not_make(
    compared: Compared, old: str, new: str, effect: str
) -> None:
    said = compared(POOL.replace(old, new))
    assert said.code == 1, said
    told = [line.removeprefix("  then ") for line in said.out.splitlines() if line.startswith("  then ")]
    assert len(told) == 1, told
    assert told[0].startswith(effect)


def test_new_objects(compared: Compared) -> None:
    pipeline = SCHEDULED.replace("name: flights,", "name: other,")
    said = compared(f"{pipeline}---{RUN.replace('by-hand', 'again')}")
    assert said.code == 1
    assert said.out.splitlines() == [
        "DataPipeline travel/other would be made (<stdin>:2)",
        "  then a Schedule is made: 15 4 * * *",
        "DataPipelineRun travel/again would be made (<stdin>:39)",
        "  then a run starts, of the pipeline flights",
    ]


def test_what_the_api_server_would_refuse(compared: Compared) -> None:
    said = compared(RUN.replace("{name: flights}", "{name: other}"))
    assert said.code == 2
    assert '  ~ spec.pipelineRef.name: "flights" -> "other"' in said.out.splitlines()
    assert "a run's spec can't be changed: make another DataPipelineRun" in said.out


def test_json_is_one_object_a_line(compared: Compared) -> None:
    said = compared(f"{POOL}---{SCHEDULED.replace('15 4', '15 5')}", "-o", "json")
    pool, pipeline = (json.loads(line) for line in said.out.splitlines())
    assert (said.code, pool["state"], pool["changes"]) == (1, "same", [])
    expected: dict[str, Any] = {
        "kind": "DataPipeline",
        "namespace": "travel",
        "name": "flights",
        "file": "<stdin>",
        "line": 11,
        "state": "changed",
        "changes": [{"field": "spec.schedule.crons", "before": ["15 4 * * *"], "after": ["15 5 * * *"]}],
        "refused": None,
    }
    assert {name: value for name, value in pipeline.items() if name != "effects"} == expected
    assert pipeline["effects"][0] == "its Schedule goes from 15 4 * * * to 15 5 * * *"


def test_errors_end_with_two(compared: Compared, crds: ApiServer, tmp_path: Path) -> None:
    assert compared(SCHEDULED.replace("Merge", "Mrge")).code == 2
    assert compared("").code == 2
    stranger = tidemill(
        "diff", "-", "--kubeconfig", crds.as_user("diff-stranger"), stdin=PIPELINE.replace("travel", "default")
    )
    assert (stranger.code, "ask whoever grants rights" in stranger.err) == (2, True)
    away = tmp_path / "away"
    away.write_text(crds.kubeconfig.read_text(encoding="utf-8").replace(crds.url, "https://127.0.0.1:1"))
    assert tidemill("diff", "-", "--kubeconfig", away, stdin=PIPELINE).code == 2
    assert tidemill("diff").code == 2


def test_what_was_made_from_a_template_and_applied_is_the_same(crds: ApiServer, tmp_path: Path) -> None:
    name = unique("new")
    crds.kubectl("create", "namespace", name)
    for template in templates():
        folder = tmp_path / template
        assert tidemill("new", template, folder, "--namespace", name).code == 0
        manifests = ("-f", str(folder / "pool.yaml"), "-f", str(folder / "pipeline.yaml"))
        assert tidemill("diff", *manifests, "--kubeconfig", crds.kubeconfig).code in {0, 1}
        crds.kubectl("apply", *manifests)
        said = tidemill("diff", *manifests, "--kubeconfig", crds.kubeconfig)
        assert said.code == 0, said
