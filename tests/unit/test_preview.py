"""`tidemill preview`: the real command on the real engine, on files of a folder."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import tidemill
from tests.support.flights import AIRLINES, FLIGHTS, PIPELINE, POOL, SQL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Manifests, and files in `data`, which a tidemill.dev.yaml names."""
    (tmp_path / "data").mkdir()
    for name, text in {
        "pool.yaml": POOL,
        "pipeline.yaml": PIPELINE,
        "tidemill.dev.yaml": "connections: {landing: {files: data}}\n",
        "data/flights.csv": FLIGHTS,
        "data/airlines.csv": AIRLINES,
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def seen(*arguments: str | Path, code: int = 0, stdin: str | None = None) -> dict[str, Any]:
    """What the command says as JSON."""
    said = tidemill("preview", "-o", "json", *arguments, stdin=stdin)
    assert said.code == code, said
    answer: dict[str, Any] = json.loads(said.out)
    return answer


def node(answer: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in answer["nodes"] if each["name"] == name)
    return found


def test_tables_show_types_rows_and_rejects(folder: Path) -> None:
    said = tidemill("preview", folder, "--run-time", "2026-01-01")
    assert said.code == 0, said
    lines = [line.rstrip() for line in said.out.splitlines()]
    assert (
        lines
        == textwrap.dedent("""\
        travel/flights at 2026-01-01T00:00:00Z
        row by row: raw → valid → named → [named], joining airlines

        raw (source)  5 in, 4 out, 1 rejected
        month  carrier  flown
        int32  string   timestamptz
            1  UA       2013-01-01T05:15:00Z
           13  UA       2013-01-01T05:29:00Z
            2  AA       NULL
            3  ZZ       NULL
        rejected by raw:
        FILE         LINE  WHY                                        ROW
        flights.csv     5  BadValue: month: 'x' is not of type int32  x,AA,NA

        airlines (source)  2 in, 2 out
        carrier  name
        string   string
        UA       United
        AA       American

        valid (validate)  4 in, 3 out, 1 rejected
        month  carrier  flown
        int32  string   timestamptz
            1  UA       2013-01-01T05:15:00Z
            2  AA       NULL
            3  ZZ       NULL
        rejected by valid:
        FILE         LINE  WHY             ROW
        flights.csv     3  month-in-range  13,UA,2013-01-01T05:29:00Z

        named (sql)  3 rows
        month  carrier  flown                 airline
        int32  string   timestamptz           string
            1  UA       2013-01-01T05:15:00Z  United
            2  AA       NULL                  American
            3  ZZ       NULL                  NULL

        named (sink)  Merge by month, airline into warehouse public.flights, 3 in, 2 out, 1 rejected; nothing is written
          month integer, carrier text, flown timestamp with time zone, airline text
        rejected by named:
        FILE         LINE  WHY                                                     ROW
        flights.csv     6  BadKey: airline is in the primary key and has no value  \
{"month":3,"carrier":"ZZ","flown":null,"airline":null}
        """).splitlines()
        or said.out
    )


def test_json_has_the_same(folder: Path) -> None:
    answer = seen(folder, "--run-time", "2026-01-01T06:00:00+01:00")
    assert (answer["pipeline"], answer["namespace"], answer["runTime"]) == (
        "flights",
        "travel",
        "2026-01-01T05:00:00+00:00",
    )
    valid = node(answer, "valid")
    assert valid["columns"][0] == {"name": "month", "type": "int32"}
    assert valid["rows"][0] == {"month": 1, "carrier": "UA", "flown": "2013-01-01T05:15:00Z"}
    assert (valid["rowsIn"], valid["rowsOut"], valid["rowsRejected"], valid["complete"]) == (4, 3, 1, True)
    assert valid["rejects"] == [
        {
            "file": "flights.csv",
            "line": 3,
            "reason": "RuleBroken",
            "rules": ["month-in-range"],
            "error": "breaks month-in-range",
            "row": "13,UA,2013-01-01T05:29:00Z",
        }
    ]
    (sink,) = answer["sinks"]
    assert (sink["table"], sink["primaryKey"], sink["rowsOut"]) == ("public.flights", ["month", "airline"], 2)
    assert answer["error"] is None


def test_options_choose_files_folders_parameters_and_rows(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "[today]{run_time}.csv").write_text("month,carrier,flown\n7,AA,NA\n8,UA,NA\n", encoding="utf-8")
    (other / "flights.csv").write_text("month,carrier,flown\n9,AA,NA\n", encoding="utf-8")
    (other / "airlines.csv").write_text("carrier,name\nAA,Other\n", encoding="utf-8")
    by_file = seen(folder, "--source", f"raw={other / '[today]{run_time}.csv'}", "--rows", "1", "--param", "carrier=UA")
    assert node(by_file, "raw")["rows"] == [{"month": 7, "carrier": "AA", "flown": None}]
    assert [row["airline"] for row in node(by_file, "named")["rows"]] == ["United"]
    by_folder = seen(folder / "pipeline.yaml", "--folder", f"landing={other}")
    assert [row["airline"] for row in node(by_folder, "named")["rows"]] == ["Other"]


def test_manifests_come_from_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert node(seen("-f", "-", stdin=f"{POOL}---{PIPELINE}"), "raw")["rowsIn"] == 5
    assert node(seen("-", stdin=PIPELINE), "raw")["rowsIn"] == 5
    said = tidemill("lint", "-f", "-", stdin=PIPELINE.replace("Merge", "Merg"))
    assert said.code == 1
    assert "<stdin>:35:25: spec.sinks[0].writeDisposition" in said.out
    assert tidemill("lint", "-", stdin="").code == 0


def test_large_files_are_read_only_as_far_as_it_takes(folder: Path) -> None:
    rows = "".join(f"{number % 12 + 1},UA,2013-01-01T05:15:00Z\n" for number in range(400_000))
    (folder / "data/flights.csv").write_text("month,carrier,flown\n" + rows, encoding="utf-8")
    answer = seen(folder, "--rows", "2")
    raw, named, airlines = node(answer, "raw"), node(answer, "named"), node(answer, "airlines")
    assert raw["rowsIn"] < 50_000
    assert (len(raw["rows"]), raw["complete"], named["complete"], airlines["complete"]) == (2, False, False, True)
    assert "and more that wasn't read" in tidemill("preview", folder).out


def test_a_rule_that_nothing_passes_reads_on_but_not_for_ever(folder: Path) -> None:
    rows = "".join(f"99,UA,{'x' * 640}\n" for _ in range(50_000))
    (folder / "data/flights.csv").write_text("month,carrier,flown\n" + rows, encoding="utf-8")
    manifest = (folder / "pipeline.yaml").read_text(encoding="utf-8").replace("timestamptz", "string")
    (folder / "pipeline.yaml").write_text(manifest, encoding="utf-8")
    valid = node(seen(folder, "--rows", "1"), "valid")
    assert (valid["rowsOut"], valid["complete"]) == (0, False)
    assert valid["rowsIn"] == valid["rowsRejected"] < 30_000


def test_narrow_terminals_get_whole_columns(folder: Path) -> None:
    said = tidemill("preview", folder, columns=30)
    assert "2 more columns (-o wide shows all): flown, airline" in said.out
    assert "more column" not in tidemill("preview", folder, "-o", "wide", columns=30).out


def test_what_data_holds_never_reaches_the_terminal(folder: Path) -> None:
    (folder / "data/flights.csv").write_text("month,carrier,flown\n1,\x1b[31mred\u202e,NA\n", encoding="utf-8")
    said = tidemill("preview", folder)
    assert "\x1b" not in said.out
    assert "\u202e" not in said.out
    assert r"\x1b[31mred" in said.out


FAULTS = [
    (
        ("files: data", "files: gone"),
        "pipeline.yaml:11:19: spec.sources[0].connection: landing: {tmp}/gone is no folder",
    ),
    (("airlines.csv, format", "none.csv, format"), "spec.sources[1].files.path: no file matches none.csv"),
    (("type: int32", "type: int32}\n        - {name: gone, type: int32"), "has no column gone"),
    ((SQL, "SELECT nothing FROM valid v, airlines a"), "spec.steps[1].sql.query: "),
    ((SQL, "SELECT 1 / 0 AS one, error('no') AS x FROM valid v, airlines a"), "spec.steps[1]"),
    (("month BETWEEN 1 AND 12", "monthh > 1"), "spec.steps[0].validate.rules[0].expression: "),
    (("[month, airline]", "[month, other]"), "primaryKey"),
]


@pytest.mark.parametrize(("change", "expected"), FAULTS, ids=lambda value: str(value)[:30])
def test_faults_name_file_line_and_field(folder: Path, change: tuple[str, str], expected: str) -> None:
    for file in folder.glob("*.yaml"):
        file.write_text(file.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    said = tidemill("preview", folder)
    assert said.code == 1, said
    assert expected.replace("{tmp}", str(folder)) in said.err
    assert f"{folder}/pipeline.yaml:" in said.err


def test_what_was_seen_before_a_fault_is_shown(folder: Path) -> None:
    change = (
        (SQL, "SELECT v.*, CAST(carrier AS INTEGER) AS airline FROM valid v LEFT JOIN airlines a USING (carrier)"),
    )
    manifest = folder / "pipeline.yaml"
    for old, new in change:
        manifest.write_text(manifest.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    answer = seen(folder, code=1)
    assert node(answer, "valid")["rowsIn"] == 4
    assert answer["error"]["field"] == "spec.steps[1]"
    assert "on the row at byte 20 of flights.csv" in answer["error"]["message"]


AGGREGATE = (
    PIPELINE.partition("  sinks:")[0]
    + """\
    - name: bycarrier
      inputs: [named]
      sql: {query: "SELECT airline, count(*) AS n, max(month) AS last FROM named GROUP BY airline"}
    - name: known
      inputs: [bycarrier]
      validate: {rules: [{name: has-name, expression: airline IS NOT NULL}]}
    - name: ranked
      inputs: [known, airlines]
      sql: {query: "SELECT k.*, a.carrier FROM known k JOIN airlines a ON a.name = k.airline"}
  sinks:
    - {name: out, input: ranked, connection: warehouse, postgres: {table: public.n}, writeDisposition: Replace}
    - {name: all, input: named, connection: warehouse, postgres: {table: public.all}, writeDisposition: Append}
"""
)


def test_steps_over_all_rows_and_what_follows_them(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text(AGGREGATE, encoding="utf-8")
    answer = seen(folder, "--rows", "1")
    assert sorted(node(seen(folder), "bycarrier")["rows"], key=str) == [
        {"airline": "American", "n": 1, "last": 2},
        {"airline": "United", "n": 1, "last": 1},
        {"airline": None, "n": 1, "last": 3},
    ]
    known = node(answer, "known")
    assert (known["rowsIn"], known["rowsOut"], known["complete"]) == (3, 2, True)
    assert [(each["rules"], json.loads(each["row"])) for each in known["rejects"]] == [
        (["has-name"], {"airline": None, "n": 1, "last": 3})
    ]
    assert {sink["name"]: sink["rowsOut"] for sink in answer["sinks"]} == {"out": 2, "all": 3}
    said = tidemill("preview", folder)
    assert "over all rows: bycarrier, from named" in said.out.splitlines()
    assert "row by row: bycarrier → known → ranked → [out], joining airlines" in said.out.splitlines()


USAGE = [
    ((), "say which manifests"),
    (("nowhere.yaml",), "nowhere.yaml: there is no such file or folder"),
    (("{folder}", "--pipeline", "flihgts"), "there is no DataPipeline flihgts in the given files; there is flights"),
    (("{folder}", "--source", "raw"), "--source raw: write it as NAME=FILE"),
    (("{folder}", "--source", "rw={folder}/pool.yaml"), "--source rw: there is no source rw; did you mean raw?"),
    (("{folder}", "--source", "raw=gone.csv"), "--source raw=gone.csv: there is no such file"),
    (("{folder}", "--folder", "landing=gone"), "--folder landing=gone: there is no such folder"),
    (("{folder}", "--folder", "x={folder}"), "--folder x: no source reads from a connection x"),
    (("{folder}", "--param", "carier=UA"), "--param carier: no pipeline declares it"),
    (("{folder}", "--run-time", "soon"), '--run-time: "soon" is not a timestamp'),
    (("{folder}/pool.yaml",), "there is no DataPipeline in the given files"),
]


@pytest.mark.parametrize(("arguments", "expected"), USAGE, ids=lambda value: str(value)[:40])
def test_wrong_usage(folder: Path, arguments: tuple[str, ...], expected: str) -> None:
    said = tidemill("preview", *(each.replace("{folder}", str(folder)) for each in arguments))
    assert said.code == 2
    assert expected in said.err
