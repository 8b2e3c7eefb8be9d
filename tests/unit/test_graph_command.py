"""`tidemill graph`: what a picture shows, how its texts are quoted, and what can't be drawn."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.support.commands import tidemill
from tests.support.flights import PIPELINE, POOL
from tools.generators.pictures import redrawn

# The names and the path hold what is a word or a sign of Mermaid and DOT.
HARD = r"""
apiVersion: tidemill.dev/v1alpha1
kind: DataPipeline
metadata: {name: hard, namespace: travel}
spec:
  workerPoolRef: {name: etl}
  sources:
    - name: end
      connection: landing
      files: {path: 'a#"q"<b>%d\{run_time:%Y}`*.csv', format: {csv: {}}}
      columns: [{name: a, type: string}]
    - name: a--b
      connection: tracker
      http: {path: v1/b}
      columns: [{name: a, type: string}, {name: b, type: string}]
    - name: given
      python: {entrypoint: "travel.sources:rows"}
      columns: [{name: a, type: string}, {name: size, type: int64}]
    - name: table
      connection: warehouse
      postgres: {table: public.former}
      columns: [{name: a, type: string}, {name: size, type: int64}]
  steps:
    - name: subgraph
      inputs: [end]
      validate: {rules: [{name: set, expression: a IS NOT NULL}]}
    - name: joined
      inputs: [subgraph, a--b]
      sql: {query: 'SELECT s.*, t.b FROM subgraph s LEFT JOIN "a--b" t ON t.a = s.a'}
    - name: total
      inputs: [joined, table]
      sql: {query: 'SELECT a, sum(size) AS size FROM joined JOIN "table" USING (a) GROUP BY a'}
    - name: marked
      inputs: [total]
      python: {entrypoint: "travel.steps:mark"}
  sinks:
    - name: end
      input: joined
      connection: warehouse
      postgres: {table: public.ends}
      writeDisposition: Merge
      mergeStrategy: SCD2
      primaryKey: [a]
    - {name: given, input: given, connection: warehouse, postgres: {table: public.given}, writeDisposition: Append}
    - name: totals
      input: marked
      connection: warehouse
      postgres: {table: public.totals}
      writeDisposition: Replace
  checks:
    - {name: some, sink: end, metric: rowCount, atLeast: 1}
    - {name: once, sink: end, metric: duplicateRows, columns: [a], severity: Warn}
"""
MERMAID = r"""
flowchart LR
  subgraph wave_1["wave 1"]
    source_end(["end<br/>a#35;#34;q#34;#60;b#62;#37;d\{run_time:#37;Y}#96;*.csv of landing"])
    source_a..b(["a--b<br/>v1/b of tracker"])
    source_given(["given<br/>travel.sources:rows"])
    source_table(["table<br/>public.former of warehouse"])
    step_subgraph["subgraph<br/>1 rule"]
    step_joined["joined<br/>SQL"]
    sink_end[("end<br/>Merge (SCD2) into public.ends of warehouse")]
    sink_given[("given<br/>Append into public.given of warehouse")]
  end
  subgraph wave_2["wave 2"]
    step_total[["total<br/>SQL over all rows"]]
  end
  subgraph wave_3["wave 3"]
    step_marked["marked<br/>travel.steps:mark"]
    sink_totals[("totals<br/>Replace into public.totals of warehouse")]
  end
  check_some{{"some<br/>rowCount"}}
  check_once{{"once<br/>duplicateRows, warns"}}
  source_end --> step_subgraph
  step_subgraph --> step_joined
  source_a..b -. joined .-> step_joined
  step_joined --> step_total
  source_table --> step_total
  step_total --> step_marked
  step_joined --> sink_end
  source_given --> sink_given
  step_marked --> sink_totals
  sink_end -.- check_some
  sink_end -.- check_once
"""
DOT = r"""
digraph "hard" {
  rankdir=LR;
  subgraph cluster_1 {
    label="wave 1";
    "source_end" [shape=box, style="rounded", label="end\na#\"q\"<b>%d\\{run_time:%Y}`*.csv of landing"];
    "source_a--b" [shape=box, style="rounded", label="a--b\nv1/b of tracker"];
    "source_given" [shape=box, style="rounded", label="given\ntravel.sources:rows"];
    "source_table" [shape=box, style="rounded", label="table\npublic.former of warehouse"];
    "step_subgraph" [shape=box, label="subgraph\n1 rule"];
    "step_joined" [shape=box, label="joined\nSQL"];
    "sink_end" [shape=cylinder, label="end\nMerge (SCD2) into public.ends of warehouse"];
    "sink_given" [shape=cylinder, label="given\nAppend into public.given of warehouse"];
  }
  subgraph cluster_2 {
    label="wave 2";
    "step_total" [shape=box, peripheries=2, label="total\nSQL over all rows"];
  }
  subgraph cluster_3 {
    label="wave 3";
    "step_marked" [shape=box, label="marked\ntravel.steps:mark"];
    "sink_totals" [shape=cylinder, label="totals\nReplace into public.totals of warehouse"];
  }
  "check_some" [shape=hexagon, label="some\nrowCount"];
  "check_once" [shape=hexagon, label="once\nduplicateRows, warns"];
  "source_end" -> "step_subgraph";
  "step_subgraph" -> "step_joined";
  "source_a--b" -> "step_joined" [style=dashed, label="joined"];
  "step_joined" -> "step_total";
  "source_table" -> "step_total";
  "step_total" -> "step_marked";
  "step_joined" -> "sink_end";
  "source_given" -> "sink_given";
  "step_marked" -> "sink_totals";
  "sink_end" -> "check_some" [style=dotted, arrowhead=none];
  "sink_end" -> "check_once" [style=dotted, arrowhead=none];
}
"""


@pytest.mark.parametrize(("arguments", "shown"), [((), MERMAID), (("-o", "dot"), DOT)], ids=["mermaid", "dot"])
def test_all_that_a_pipeline_has_is_drawn_and_quoted(arguments: tuple[str, ...], shown: str) -> None:
    said = tidemill("graph", "-f", "-", *arguments, stdin=HARD)
    assert (said.code, said.err) == (0, "")
    assert said.out == shown.removeprefix("\n")


@pytest.mark.parametrize(
    ("manifests", "arguments", "code", "complaint"),
    [
        ((POOL,), (), 2, "tidemill graph: there is no DataPipeline in the given files\n"),
        (
            (PIPELINE, PIPELINE.replace("{name: flights,", "{name: more,")),
            (),
            2,
            "tidemill graph: a picture is of one pipeline, and there are flights, more: choose by --pipeline\n",
        ),
        ((PIPELINE,), ("--pipeline", "more"), 2, "tidemill graph: there is no DataPipeline more in the given files; "),
        ((PIPELINE.replace("inputs: [raw]", "inputs: [row]"),), (), 1, "there is no source or step row; "),
    ],
    ids=["no pipeline", "several", "not that one", "a wrong one"],
)
def test_what_cannot_be_drawn_is_said(
    tmp_path: Path, manifests: tuple[str, ...], arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    for number, text in enumerate(manifests):
        (tmp_path / f"{number}.yaml").write_text(text, encoding="utf-8")
    said = tidemill("graph", tmp_path, *arguments)
    assert (said.code, said.out) == (code, "")
    assert complaint in said.err


def test_one_of_several_is_drawn_alone(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(PIPELINE, encoding="utf-8")
    alone = tidemill("graph", tmp_path)
    (tmp_path / "other.yaml").write_text(PIPELINE.replace("{name: flights,", "{name: more,"), encoding="utf-8")
    assert alone.code == 0
    assert tidemill("graph", tmp_path, "--pipeline", "flights") == alone


def test_pictures_of_pages_are_drawn_anew() -> None:
    page = """\
        Before.

        <!-- graph: examples/flights -->
        ```mermaid
        {}```

        ```mermaid
        one of a hand
        ```
        """
    page = textwrap.dedent(page)
    assert redrawn(page.format("old\n")) == page.format(tidemill("graph", "examples/flights").out)
