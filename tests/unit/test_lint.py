"""`tidemill lint`: where things stand, how they are said, and what it looks at."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.manifests import GOLDEN
from tidemill_cli.lint import lint
from tidemill_cli.lint.meaning import check_manifests
from tidemill_cli.manifests import load_manifests

POOL = """
apiVersion: tidemill.dev/v1alpha1
kind: WorkerPool
metadata: {name: etl, namespace: travel}
spec:
  connections:
    - {name: landing, files: {url: "file:///data/"}}
    - {name: warehouse, postgres: {dsn: {secretKeyRef: {name: warehouse, key: dsn}}}}
  metastore: {connection: warehouse}
"""
PIPELINE = """
apiVersion: tidemill.dev/v1alpha1
kind: DataPipeline
metadata: {name: flights, namespace: travel}
spec:
  workerPoolRef: {name: etl}
  sources:
    - name: raw
      connection: landing
      files: {path: flights.csv, format: {csv: {}}}
  sinks:
    - name: out
      input: raw
      connection: warehouse
      postgres: {table: public.flights}
      writeDisposition: Append
"""


def said(tmp_path: Path, *texts: str) -> list[str]:
    """What lint says of these texts, each a file `0.yaml`, `1.yaml`, ..., without the folder's name."""
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
    return [str(finding).removeprefix(f"{tmp_path}/") for finding in check_manifests(load_manifests([tmp_path]))]


def pipeline(**changes: str) -> str:
    """PIPELINE with lines replaced: `suspend="suspend: true"` puts the text in place of or behind the named line."""
    text = PIPELINE
    for old, new in changes.items():
        line = next(
            (one for one in text.splitlines() if one.strip().startswith(f"{old}:")), "  workerPoolRef: {name: etl}"
        )
        keep = [] if line.strip().startswith(f"{old}:") else [line]
        text = text.replace(
            line, "\n".join([*keep, *(" " * (len(line) - len(line.lstrip())) + one for one in new.splitlines())])
        )
    return text


def test_good_manifests() -> None:
    assert load_manifests([GOLDEN]).findings == ()


CASES = (
    (
        pipeline(suspnd="suspnd: true"),
        ["0.yaml:7:3: spec.suspnd: there is no field suspnd; did you mean suspend?"],
    ),
    (
        pipeline(suspend='suspend: "yes"'),
        ['0.yaml:7:12: spec.suspend: must be a boolean: true or false, without quotes, not "yes"'],
    ),
    (
        pipeline(suspend="suspend: yes"),
        [
            (
                "0.yaml:7:12: warning: spec.suspend: yes is read as the boolean true by kubectl: "
                "write true, or put text in quotes"
            ),
        ],
    ),
    (
        pipeline(writeDisposition="writeDisposition: merge"),
        [
            (
                "0.yaml:16:25: spec.sinks[0].writeDisposition: "
                '"merge" is not one of Append, Merge, Replace; did you mean Merge?'
            ),
        ],
    ),
    (
        pipeline(writeDisposition="writeDisposition: Merge"),
        ["0.yaml:12:7: spec.sinks[0].primaryKey: Merge needs primaryKey: the columns that identify a row"],
    ),
    (
        pipeline(files="files: {path: ../x, format: {csv: {}}}"),
        [
            (
                "0.yaml:10:21: spec.sources[0].files.path: path must be relative and stay below the connection's "
                "folder: no leading slash, no '..'"
            ),
        ],
    ),
    (
        pipeline(execution="execution: {timeout: 2 hours, parallelism: 0, chunk: {maxRows: 5.5}}"),
        [
            (
                '0.yaml:7:24: spec.execution.timeout: "2 hours" is not of the right form: '
                "write it like 30s, 10m, 1h30m, 7d"
            ),
            "0.yaml:7:46: spec.execution.parallelism: must be at least 1, not 0",
            "0.yaml:7:66: spec.execution.chunk.maxRows: must be a whole number, without quotes, not 5.5",
        ],
    ),
    (
        pipeline(connection="konnection: landing"),
        [
            "0.yaml:9:7: spec.sources[0].konnection: there is no field konnection; did you mean connection?",
        ],
    ),
    (
        pipeline(schedule='schedule:\n  crons: ["61 * * * *"]\n  timeZone: Mars/Phobos'),
        [
            "0.yaml:8:13: spec.schedule.crons[0]: '61 * * * *': '61' is no minute: '61' is not a number of 0 to 59",
            (
                "0.yaml:9:15: spec.schedule.timeZone: there is no IANA time zone Mars/Phobos, "
                "such as UTC or America/New_York"
            ),
        ],
    ),
    (
        pipeline(input="input: rwa", connection="connection: landig"),
        [
            "0.yaml:8:7: spec.sources[0]: nothing reads raw; name it as an input of a step or sink, or take it out",
            "0.yaml:9:19: spec.sources[0].connection: the pool has no connection landig; did you mean landing?",
            "0.yaml:13:14: spec.sinks[0].input: there is no source or step rwa; did you mean raw?",
        ],
    ),
    (
        pipeline(schedule='schedule: {crons: ["0 0 13 * 5", "0 0 * * 5"]}'),
        [
            (
                "0.yaml:7:22: warning: spec.schedule.crons[0]: '0 0 13 * 5' runs when both day of month and day of "
                "week match; Unix' cron runs when either does"
            ),
        ],
    ),
    (
        pipeline(metadata="metadata: {name: My_Flights, namespace: a.b}"),
        [
            (
                "0.yaml:4:18: metadata.name: 'My_Flights' can't name an object: "
                "use lower-case letters, digits, '-' and '.', such as flights"
            ),
            (
                "0.yaml:4:41: metadata.namespace: 'a.b' can't name a namespace: "
                "use lower-case letters, digits and '-', such as travel"
            ),
            (
                "0.yaml:6:25: note: spec.workerPoolRef.name: no WorkerPool etl of the namespace a.b is here; "
                "there is one in the namespace travel; connections were not checked"
            ),
        ],
    ),
    (
        pipeline(sources="sources: []\nsauces:", files="files: {path: '', format: {csv: {nullValues: {}}}}"),
        [
            "0.yaml:7:12: spec.sources: needs at least 1 item",
            "0.yaml:8:3: spec.sauces: there is no field sauces; did you mean sources?",
        ],
    ),
    (
        pipeline(files="files: {path: '', format: {csv: {nullValues: {}, delimiter: ab, quote: 5}}}"),
        [
            "0.yaml:10:21: spec.sources[0].files.path: must not be empty",
            "0.yaml:10:52: spec.sources[0].files.format.csv.nullValues: must be a list, not a mapping",
            "0.yaml:10:67: spec.sources[0].files.format.csv.delimiter: must have at most 1 character",
            "0.yaml:10:78: spec.sources[0].files.format.csv.quote: must be a text: put it in quotes, not 5",
        ],
    ),
    (
        pipeline(execution="execution: {parallelism: 1001, retry: {maximumAttempts: -1}, errorTolerance: {}}"),
        [
            "0.yaml:7:28: spec.execution.parallelism: must be at most 1000, not 1001",
            "0.yaml:7:59: spec.execution.retry.maximumAttempts: must be at least 0, not -1",
            "0.yaml:7:80: spec.execution.errorTolerance: errorTolerance needs maxPercent, maxRows or both",
        ],
    ),
    (
        pipeline(suspend="suspend: true\nsuspend: false"),
        ["0.yaml:8:3: spec.suspend: suspend stands here for the second time, first in line 7: keep one"],
    ),
)


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_a_line_says_where_and_what_would_be_right(text: str, expected: list[str], tmp_path: Path) -> None:
    assert said(tmp_path, text, POOL) == expected


def test_an_unknown_field_hides_nothing_behind_it(tmp_path: Path) -> None:
    found = said(tmp_path, pipeline(suspnd="suspnd: true", input="input: nowhere"), POOL)
    assert any("spec.suspnd" in line for line in found)
    assert any("spec.sinks[0].input: there is no source or step nowhere" in line for line in found)


def test_pool_that_is_not_here_is_a_note(tmp_path: Path) -> None:
    found = said(tmp_path, PIPELINE, POOL.replace("namespace: travel", "namespace: other"))
    assert found == [
        (
            "0.yaml:6:25: note: spec.workerPoolRef.name: no WorkerPool etl of the namespace travel is here; "
            "there is one in the namespace other; connections were not checked"
        ),
    ]
    assert lint([tmp_path]) == 0


def test_broken_pool_is_not_called_missing(tmp_path: Path) -> None:
    found = said(tmp_path, PIPELINE, POOL.replace("metastore: {connection: warehouse}", "metastore: {}"))
    assert [line for line in found if "workerPoolRef" in line] == []


def test_runs_against_their_pipeline(tmp_path: Path) -> None:
    run = """
    apiVersion: tidemill.dev/v1alpha1
    kind: DataPipelineRun
    metadata: {name: again, namespace: travel}
    spec: {pipelineRef: {name: flights}, parameters: {carier: UA}}
    """
    lost = run.replace("{name: flights}", "{name: fligths}").replace("again", "lost")
    found = said(tmp_path, PIPELINE, POOL, run, lost)
    assert found == [
        "2.yaml:5:59: spec.parameters.carier: the pipeline has no parameter carier; it declares none",
        (
            "3.yaml:5:28: note: spec.pipelineRef.name: no DataPipeline fligths of the namespace travel is here; "
            "did you mean flights?; parameters were not checked"
        ),
    ]


def test_several_documents_lists_and_others_kinds(tmp_path: Path) -> None:
    items = textwrap.indent(PIPELINE.strip().replace("apiVersion", "- apiVersion", 1).replace("\n", "\n  "), "  ")
    secret = "apiVersion: v1\nkind: Secret\nkind: Secret\n"
    text = f"# first\n---\n{secret}---\nkind: List\napiVersion: v1\nitems:\n{items}\n---{POOL}"
    found = said(tmp_path, text.replace("input: raw", "input: rax"))
    assert [line.split(": ")[:2] for line in found] == [
        ["0.yaml:16:11", "spec.sources[0]"],
        ["0.yaml:21:18", "spec.sinks[0].input"],
    ]


def test_one_broken_document_does_not_hide_the_others(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        f"{POOL}---\nkind: [DataPipeline\n---\n{pipeline(input='input: rwa')}---\nkind: WorkerPool\nspec: *nowhere\n",
    )
    assert [line for line in found if "this is no valid YAML" in line]
    assert [line for line in found if "there is no anchor &nowhere before this" in line]
    assert [line for line in found if "there is no source or step rwa" in line]


def test_duplicate_objects_are_named_with_their_places(tmp_path: Path) -> None:
    found = said(tmp_path, PIPELINE, POOL, PIPELINE)
    assert found == [
        (
            f"2.yaml:4:18: metadata.name: DataPipeline travel/flights stands already in {tmp_path}/0.yaml:2: "
            "one of them would overwrite the other"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("apiVersion: tidemill.dev/v1\nkind: WorkerPool\n", "apiVersion: tidemill.dev/v1 is not known"),
        ("kind: WorkerPool\n", "apiVersion: is missing: write tidemill.dev/v1alpha1"),
        ("apiVersion: tidemill.dev/v1alpha1\nkind: Pipeline\n", "there is no kind Pipeline in tidemill.dev"),
        ("apiVersion: tidemill.dev/v1alpha1\nkind: WorkerPol\n", "did you mean WorkerPool?"),
        (
            "apiVersion: tidemill.dev/v1alpha1\nkind: WorkerPool\nmetadata: {name: x}\nspec: 5\n",
            "spec: must be a mapping",
        ),
        ("apiVersion: tidemill.dev/v1alpha1\nkind: WorkerPool\nmetadata: {}\nspec: {}\n", "metadata.name: is missing"),
        ("apiVersion: tidemill.dev/v1alpha1\nkind: !thing WorkerPool\n", "the tag !thing has no meaning"),
        ("apiVersion: tidemill.dev/v1alpha1\nkind: WorkerPool\n? [a]\n: b\n", "a key must be a text"),
        ("kind: \t@\n# tidemill.dev\n", "this is no valid YAML"),
        ("a: \x01 # tidemill.dev\n", "this is no valid YAML"),
    ],
)
def test_odd_objects(text: str, says: str, tmp_path: Path) -> None:
    found = said(tmp_path, text)
    assert any(says in line for line in found), found


def test_folded_text_is_one_line(tmp_path: Path) -> None:
    folded = "steps:\n  - name: s\n    inputs: [raw]\n    sql:\n      query: >-\n        SELECT *\n        FROM raw"
    text = pipeline(suspend=folded, input="input: s")
    assert said(tmp_path, text, POOL) == []
    step = load_manifests([tmp_path]).pipelines[0].object.spec.steps[0]
    assert step.sql is not None
    assert step.sql.query == "SELECT * FROM raw"


def test_anchors_merge_keys_and_numbers_are_kubectl_s(tmp_path: Path) -> None:
    text = """
    apiVersion: tidemill.dev/v1alpha1
    kind: DataPipeline
    metadata: {name: flights}
    spec:
      workerPoolRef: {name: etl}
      sources:
        - &one {name: one, connection: landing, files: {path: a.csv, format: {csv: {header: on}}}}
        - {<<: *one, name: two}
      sinks:
        - {name: a, input: one, connection: w, postgres: {table: p.a}, writeDisposition: Append}
        - {name: b, input: two, connection: w, postgres: {table: p.b}, writeDisposition: Append}
      execution: {parallelism: 010, chunk: {maxRows: 0x10}, retry: {backoffCoefficient: 1.5e+0, maximumAttempts: 1_0}}
      parameters:
        - {name: since, type: date, default: 2026-01-31}
    """
    (tmp_path / "a.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
    manifests = load_manifests([tmp_path])
    assert manifests.errors == ()
    spec = manifests.pipelines[0].object.spec
    assert [source.name for source in spec.sources] == ["one", "two"]
    assert spec.sources[1].in_files.path == "a.csv"
    assert spec.execution.parallelism == 8
    assert spec.execution.chunk.max_rows == 16
    assert spec.execution.retry.backoff_coefficient == 1.5
    assert spec.execution.retry.maximum_attempts == 10
    assert spec.parameters[0].default == "2026-01-31"


def test_files_that_are_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "deep" / "er" / "p.yml").write_text(PIPELINE)
    (tmp_path / "pool.json").write_text(json.dumps({"kind": "Nothing"}))
    (tmp_path / ".hidden" / "x.yaml").write_text("kind: WorkerPool")
    (tmp_path / "template.yaml").write_text("{{ if .Values.x }}\nnot: yaml\n")
    (tmp_path / "notes.txt").write_text("kind: WorkerPool")
    assert lint([tmp_path, tmp_path / "deep"]) == 0
    assert "1 object in 3 files" in capsys.readouterr().out


def test_a_file_given_by_name_must_be_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "template.yaml"
    file.write_text("{{ if .Values.x }}\nnot: yaml\n")
    assert lint([file]) == 1
    assert "this is no valid YAML" in capsys.readouterr().out


BROKEN = "apiVersion: tidemill.dev/v1alpha1\nkind: DataPipeline\nmetadata: {name: x}\nspec: "


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# notes\nhello there\n", ":2:1: this is no manifest: a Kubernetes object has the fields apiVersion and kind"),
        ("", ":1:1: this is no manifest"),
        ("- kind: WorkerPool\n", ":1:1: this is no manifest"),
        ("a: 1\nb: *nope\n", ":2:4: b: there is no anchor &nope before this"),
        (f"{BROKEN}{'[' * 3000}", ":4:107: this is nested more than 100 levels deep"),
        (f"{BROKEN}{'[' * 3000}{']' * 3000}\n", ":4:107: this is nested more than 100 levels deep"),
        (f"{'{a: ' * 3000}", ":1:405: this is nested more than 100 levels deep"),
    ],
    ids=["plain text", "empty", "a list", "no anchor", "deep and open", "deep", "deep mappings"],
)
def test_a_file_given_by_name_must_hold_a_manifest(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(text)
    assert lint([file]) == 1
    found, summary = capsys.readouterr().out.splitlines()
    assert found.startswith(f"{file}{says}")
    assert summary == "0 objects in 1 file: 1 error"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n"),
        ("tidemill.dev.yaml", "connections: {landing: {files: .}}\n"),
        ("flights.test.yaml", "tests: []\n"),
    ],
)
def test_what_lies_beside_manifests_may_be_given_with_them(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "pool.yaml").write_text(POOL)
    assert lint(sorted(tmp_path.iterdir())) == 0
    assert "1 object in 2 files: no errors" in capsys.readouterr().out
    assert lint([tmp_path / name]) == 0
    assert f"{tmp_path / name}:1:1: warning: there is nothing of Tidemill's kinds" in capsys.readouterr().out


def test_text_that_is_no_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: \xff")
    assert lint([tmp_path]) == 1
    assert "a.yaml:1:1: this is no UTF-8 text (byte 3)" in capsys.readouterr().out


def test_nothing_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint([tmp_path]) == 0
    assert "there is nothing of Tidemill's kinds" in capsys.readouterr().out


def test_path_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint([tmp_path / "nowhere"]) == 2
    assert "there is no such file or folder" in capsys.readouterr().err


def test_json_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(pipeline(input="input: rwa") + "---" + POOL)
    assert lint([tmp_path], "json") == 1
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (answer["files"], answer["objects"], answer["errors"]) == (1, 2, 2)
    assert answer["findings"][1] == {
        "file": str(tmp_path / "a.yaml"),
        "line": 13,
        "column": 14,
        "field": "spec.sinks[0].input",
        "severity": "error",
        "reason": "InvalidGraph",
        "message": "there is no source or step rwa; did you mean raw?",
    }


@pytest.mark.parametrize(
    ("entrypoint", "says"),
    [
        ("travel.steps:score", ""),
        ("travel.steps:renamed", ""),
        ("travel:here", ""),
        ("elsewhere.steps:score", ""),
        ("travel.steps:scroe", "travel/steps.py has no function scroe; did you mean score?"),
        ("travel.step:score", "there is no module travel.step in "),
        ("travel.broken:score", "travel/broken.py is no module of Python: "),
        ("travel:score", "travel/__init__.py has no function score"),
    ],
)
def test_functions_are_looked_for_beside_the_manifest(entrypoint: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "travel").mkdir()
    (tmp_path / "travel/__init__.py").write_text("here = print\n")
    code = "from math import sin as renamed\nraise SystemExit\nif True:\n    def score(batch): ...\n"
    (tmp_path / "travel/steps.py").write_text(code)
    (tmp_path / "travel/broken.py").write_text("def score(:\n")
    step = f"  steps:\n    - {{name: made, inputs: [raw], python: {{entrypoint: '{entrypoint}'}}}}\n  sinks:"
    text = PIPELINE.replace("  sinks:", step).replace("input: raw", "input: made")
    pool = f"{POOL}  python: {{allowedEntrypoints: ['travel:*', 'travel.*:*', 'elsewhere.steps:*']}}\n"
    found = said(tmp_path, text, pool)
    assert [says in line and "warning: spec.steps[0].python.entrypoint: " in line for line in found] == [True] * bool(
        says
    )
