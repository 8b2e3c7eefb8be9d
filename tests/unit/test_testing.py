"""`tidemill test`: the real command on the real engine."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest

from tests.support.commands import Said, tidemill
from tests.support.flights import PIPELINE, POOL
from tidemill_cli.testing.compare import Compared, compare

CASE = """
  - name: a month out of range is rejected
    parameters: {carrier: ""}
    sources:
      raw:
        rows:
          - {month: 1, carrier: UA, flown: "2013-01-01T05:15:00Z"}
          - {month: 13, carrier: AA}
          - {month: 2, carrier: AA}
          - {month: x, carrier: "A,\\"A"}
      airlines:
        csv: |
          carrier,name
          UA,United
          AA,American
    expect:
      outputs:
        named:
          rows:
            - {month: 2, airline: American, flown: null}
            - {month: 1, airline: United, flown: "2013-01-01T06:15:00+01:00"}
      rejects:
        - {step: valid, rule: month-in-range, row: {month: 13, carrier: AA, flown: null}}
        - {step: raw, reason: BadValue, line: 5, error: type int32, row: 'x,"A,""A",'}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pool, a pipeline, and no tests yet."""
    (tmp_path / "pool.yaml").write_text(POOL, encoding="utf-8")
    (tmp_path / "pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
    return tmp_path


def said_of(folder: Path, text: str, *arguments: str | Path) -> Said:
    """What the command says of a test file with this text."""
    (folder / "flights.test.yaml").write_text(text, encoding="utf-8")
    return tidemill("test", folder, *arguments)


def differences(folder: Path, text: str) -> list[str]:
    """What is wrong with the one case, without the folder's name."""
    said = said_of(folder, f"cases:{text}")
    assert said.code == 1, said
    lines = said.out.replace(f"{folder}/", "").splitlines()
    assert lines[-1] == "1 case: 0 passed, 1 failed"
    return [line.removeprefix("    ").rstrip() for line in lines[1:-1]]


def test_a_case_passes(folder: Path) -> None:
    said = said_of(folder, f"cases:{CASE}")
    assert (said.code, said.out.splitlines()[-1]) == (0, "1 case: 1 passed, 0 failed")
    assert said.out.startswith(f"pass  {folder}/flights.test.yaml: a month out of range is rejected  (")


WRONG = [
    (
        ("airline: American", "airline: Amrican"),
        """\
        named: 2 expected, 2 came
          differs: month=2, flown=NULL (flights.test.yaml:20)
            airline  expected "Amrican"
                       actual "American\"""",
    ),
    (
        (
            "- {month: 2, airline: American, flown: null}\n",
            "- {month: 9, airline: None, flown: '2000-01-01T00:00:00Z'}\n",
        ),
        """\
        named: 2 expected, 2 came
          differs: a row (flights.test.yaml:20)
            month    expected 9
                       actual 2
            airline  expected "None"
                       actual "American"
            flown    expected "2000-01-01T00:00:00Z"
                       actual NULL""",
    ),
    (
        ("            - {month: 2, airline: American, flown: null}\n", ""),
        """\
        named: 1 expected, 2 came
          not expected: month=2, airline="American", flown=NULL""",
    ),
    (
        ("airline: United, flown", "airlne: United, flown"),
        "named: there is no column airlne; it has month, carrier, flown, airline",
    ),
    (
        ("named:\n          rows:", "named:\n          ordered: true\n          rows:"),
        "named: the rows are as expected but for their order: row 1 came as row 2",
    ),
    (
        ("{month: 2, airline", '{month: "2", airline'),
        """\
        named: 2 expected, 2 came
          differs: airline="American", flown=NULL (flights.test.yaml:20)
            month  expected "2"
                     actual 2""",
    ),
    (
        ("line: 5", "line: 6"),
        """\
        rejected rows:
          missing: step="raw", reason="BadValue", error="type int32", line=6, row="x,\\"A,\\"\\"A\\"," \
(flights.test.yaml:24)
          not expected: by raw, line 5, BadValue: month: 'x' is not of type int32: x,"A,""A",""",
    ),
    (
        ("        - {step: valid, rule: month-in-range, row: {month: 13, carrier: AA, flown: null}}\n", ""),
        """\
        rejected rows:
          not expected: by valid, line 3, month-in-range: 13,AA,""",
    ),
    (("month: 13, carrier: AA, flown: null}}", "month: 13, carrier: UA}}"), "rejected rows:"),
    (
        ("carrier,name\n", "carrier,title\n"),
        "the run fails with SQLError: pipeline.yaml:28:20: spec.steps[1].sql.query: ",
    ),
]


@pytest.mark.parametrize(("change", "expected"), WRONG, ids=lambda value: str(value)[:40])
def test_differences_name_rows_columns_and_lines(folder: Path, change: tuple[str, str], expected: str) -> None:
    assert change[0] in CASE
    lines = differences(folder, CASE.replace(*change))
    wanted = textwrap.dedent(expected).splitlines()
    assert lines[: len(wanted) - 1] == wanted[:-1]
    assert lines[len(wanted) - 1].startswith(wanted[-1]), lines


FAILING = """
  - name: a bad row fails it
    sources: {raw: {csv: "month,carrier,flown\\n13,UA,\\n"}, airlines: {csv: "carrier,name\\n"}}
    expect: {error: {type: BadRow, message: breaks month-in-range}}
"""


def test_a_failure_may_be_what_is_expected(folder: Path) -> None:
    assert differences(folder, FAILING) == ["the run should have failed with BadRow, and it succeeded"]
    manifest = folder / "pipeline.yaml"
    strict = manifest.read_text(encoding="utf-8").replace(
        "      validate:\n", "      validate:\n        onError: Fail\n"
    )
    manifest.write_text(strict, encoding="utf-8")
    assert said_of(folder, f"cases:{FAILING}").code == 0
    (line,) = differences(folder, FAILING.replace("breaks month", "breaks year"))
    assert line == (
        "the run should have failed with BadRow ('breaks year-in-range'), and failed with BadRow: step valid: the row "
        "at line 2 (byte 20) of rows.csv breaks month-in-range; onError is Fail"
    )


UNRUNNABLE = [
    ("cases: []", "flights.test.yaml:1:8: cases: "),
    ("case: 1", "flights.test.yaml:1:1: case: there is no field case; did you mean cases?"),
    ("cases: [", "this is no valid YAML"),
    ("", "flights.test.yaml:1:1: is empty"),
    (f"cases:{CASE}---\ncases: []", "a second document"),
    (f"cases:{CASE}".replace("      airlines:", "      airline:"), "has no source airline; did you mean airlines?"),
    (
        f"cases:{CASE}".replace("        csv: |", "        file: x.csv\n        csv: |"),
        "exactly one of: rows, csv, file",
    ),
    (f"cases:{CASE}".replace("        named:", "        namd:"), "no source, step or sink namd; did you mean named?"),
    (f"cases:{CASE}".replace("month-in-range", "month"), "valid has no rule month; there is month-in-range"),
    (f"cases:{CASE}".replace('{carrier: ""}', "{carier: x}"), "cases[0].parameters.carier: "),
    (f"cases:{CASE}{CASE}", "cases[1]: Duplicate value: name"),
    (
        f"pipeline: other\ncases:{CASE}",
        "1:11: pipeline: there is no DataPipeline other in the manifests; there is flights",
    ),
    (f"manifests: [gone.yaml]\ncases:{CASE}", "manifests: "),
    (
        f"cases:{FAILING}".replace('{csv: "carrier,name\\n"}', "{file: gone.csv}"),
        "cases[0].sources.airlines.file: there is no",
    ),
    (
        f"cases:{FAILING}".replace("{error:", "{outputs: {named: {rows: []}}, error:"),
        "has no outputs and rejects to compare",
    ),
]


@pytest.mark.parametrize(("text", "expected"), UNRUNNABLE, ids=lambda value: str(value)[-40:])
def test_what_cannot_be_run_is_said_with_its_place(folder: Path, text: str, expected: str) -> None:
    said = said_of(folder, text)
    assert said.code == 2, said
    assert expected in said.err
    assert said.err.startswith(f"{folder}/flights.test.yaml:")


def test_wrong_usage(folder: Path) -> None:
    assert tidemill("test", folder / "gone").code == 2
    assert "there is no file *.test.yaml" in tidemill("test", folder).err
    assert "there is no pipeline.test.yaml beside it" in tidemill("test", folder / "pipeline.yaml").err
    assert "no case's name holds 'zzz'" in said_of(folder, f"cases:{CASE}", "--case", "zzz").err
    said = said_of(folder, f"cases:{CASE}", "--junit", folder / "gone/results.xml")
    assert (said.code, "--junit" in said.err) == (2, True)


def test_a_wrong_manifest_is_said_as_lint_says_it(folder: Path) -> None:
    manifest = folder / "pipeline.yaml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("Merge", "Mrge"), encoding="utf-8")
    said = said_of(folder, f"cases:{CASE}")
    assert said.code == 2
    assert f"{folder}/pipeline.yaml:35:25: spec.sinks[0].writeDisposition" in said.err


def test_json_and_junit_say_the_same(folder: Path) -> None:
    text = f"cases:{CASE}{FAILING}"
    said = said_of(folder, text, "-o", "json", "--junit", folder / "results.xml")
    assert said.code == 1
    passed, failed = (json.loads(line) for line in said.out.splitlines())
    assert (passed["result"], passed["pipeline"], passed["line"], passed["differences"]) == ("passed", "flights", 2, [])
    assert failed["differences"] == [
        {"kind": "run", "message": "the run should have failed with BadRow, and it succeeded"}
    ]
    root = ElementTree.parse(folder / "results.xml").getroot()  # noqa: S314 - our own file
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "2", "1")
    (suite,) = root
    good, bad = suite
    assert (suite.get("name"), good.get("classname"), len(good)) == (
        str(folder / "flights.test.yaml"),
        "travel.flights",
        0,
    )
    (failure,) = bad
    assert failure.get("message") == "the run should have failed with BadRow, and it succeeded"


def test_files_orders_sinks_and_manifests_from_standard_input(folder: Path) -> None:
    (folder / "tests").mkdir()
    (folder / "tests/raw.csv").write_text("month,carrier,flown\n3,UA,NA\n4,ZZ,NA\n", encoding="utf-8")
    (folder / "tests/expected.csv").write_text("month,carrier,airline\n3,UA,United\n", encoding="utf-8")
    text = """
        # yaml-language-server: $schema=../test.json
        cases:
          - name: files
            sources: {raw: {file: raw.csv}, airlines: {rows: [{carrier: UA, name: United}]}}
            expect:
              outputs:
                valid: {rows: [{month: 3}, {month: 4}], ordered: true}
                named: {file: expected.csv}
              rejects: [{step: named, reason: BadKey, row: {month: 4}}]
    """
    (folder / "tests/flights.test.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
    said = tidemill("test", folder / "tests", "-f", folder / "pipeline.yaml")
    assert said.code == 0, said
    assert "there is nothing" not in said.err
    both = f"{POOL}---{PIPELINE}"
    assert tidemill("test", folder / "tests", "-f", "-", stdin=both.replace('12"}', '3"}')).code == 1


FORMATS = {
    "csv": ("csv: {delimiter: ';', quote: \"'\", nullValues: [NA]}", 4, "x;NA;'2013-01-01;'"),
    "latin": ("csv: {encoding: latin-1, nullValues: [NA]}", 4, "x,NA,2013-01-01;"),
    "json lines": ("jsonLines: {}", 3, None),
    "json": ("json: {}", 3, None),
}


@pytest.mark.parametrize("name", FORMATS)
def test_rows_are_written_in_the_format_of_the_source(folder: Path, name: str) -> None:
    form, line, text = FORMATS[name]
    manifest = (folder / "pipeline.yaml").read_text(encoding="utf-8")
    manifest = manifest.replace('csv: {nullValues: ["", "NA"]}', form).replace(
        "{name: flown, type: timestamptz}", COLUMN
    )
    (folder / "pipeline.yaml").write_text(manifest, encoding="utf-8")
    row = f"row: {json.dumps(text)}" if text else 'row: {month: x, Flown At: "2013-01-01;"}'
    cases = f"""cases:
  - name: "{name}"
    sources:
      raw:
        rows:
          - {{month: 1, carrier: "Ü;'x", flown: null}}
          - {{month: 2, Flown At: "a"}}
          - {{month: x, flown: "2013-01-01;"}}
      airlines: {{rows: [{{carrier: "Ü;'x", name: known}}]}}
    expect:
      outputs:
        raw: {{rows: [{{month: 1, carrier: "Ü;'x", flown: null}}, {{month: 2, carrier: null, flown: a}}]}}
      rejects:
        - {{step: raw, reason: BadValue, line: {line}, {row}}}
        - {{step: named, reason: BadKey, row: {{month: 2}}}}
"""
    said = said_of(folder, cases)
    assert said.code == 0, said


COLUMN = "{name: flown, from: Flown At, type: string}"


def test_parquet_rows_have_the_declared_types(folder: Path) -> None:
    manifest = (folder / "pipeline.yaml").read_text(encoding="utf-8")
    manifest = manifest.replace('csv: {nullValues: ["", "NA"]}', "parquet: {}").replace(
        "{name: flown, type: timestamptz}", "{name: flown, from: Flown At, type: date}"
    )
    (folder / "pipeline.yaml").write_text(manifest, encoding="utf-8")
    cases = """cases:
  - name: typed
    sources:
      raw: {rows: [{month: 1, carrier: UA, flown: "2013-01-01"}, {month: null, carrier: UA}]}
      airlines: {rows: [{carrier: UA, name: United}]}
    expect:
      outputs: {named: {rows: [{month: 1, flown: "2013-01-01", airline: United}]}}
      rejects: [{step: raw, row: {month: null}}]
"""
    said = said_of(folder, cases)
    assert said.code == 0, said
    wrong = said_of(folder, cases.replace("month: 1, carrier", "month: x, carrier"))
    assert (wrong.code, "source raw: column month" in wrong.out) == (1, True)
    text = said_of(
        folder,
        cases.replace(
            '{rows: [{month: 1, carrier: UA, flown: "2013-01-01"}, {month: null, carrier: UA}]}', '{csv: "a"}'
        ),
    )
    assert "cases[0].sources.raw.csv: the files of raw are no CSV" in text.err


KINDS: list[tuple[pa.Array, list[Any], str]] = [
    (pa.array([1, None]), [1, None], "1\n\n"),
    (pa.array([True, False]), [True, False], "true\nfalse\n"),
    (pa.array([0.1 + 0.2, float("nan")]), [0.3, "NaN"], "0.3\nnan\n"),
    (pa.array([1.5], pa.float32()), [1.5], "1.5\n"),
    (pa.array(["a"]), ["a"], "a\n"),
    (pa.array([19000], pa.date32()), ["2022-01-08"], "2022-01-08\n"),
    (pa.array([0], pa.timestamp("us")), ["1970-01-01T00:00:00"], "1970-01-01\n"),
    (pa.array([0], pa.timestamp("us", "UTC")), ["1970-01-01T01:00:00+01:00"], "1970-01-01T00:00:00Z\n"),
    (pa.array([3_600_000_000], pa.time64("us")), ["01:00:00"], "01:00\n"),
    (pa.array(["1.50"]).cast(pa.decimal128(4, 2)), [1.5], "1.5\n"),
    (pa.array([[1, 2]]), [[1, 2]], "[1, 2]\n"),
    (pa.array([{"a": 1}]), [{"a": 1}], '{"a": 1}\n'),
]


@pytest.mark.parametrize(("came", "expected", "text"), KINDS, ids=lambda value: str(getattr(value, "type", ""))[:20])
def test_values_of_each_type_compare(came: pa.Array, expected: list[Any], text: str) -> None:
    table = pa.table({"x": came})
    assert compare([{"x": value} for value in expected], table, ordered=True, texts=False).same
    assert compare([{"x": value} for value in text.splitlines()], table, ordered=False, texts=True).same
    for wrong in ("other", 17, None, True, False, 1.25, [9]):
        if wrong not in expected:
            assert not compare([{"x": wrong}] * len(came), table, ordered=False, texts=False).same, wrong


def counts(found: Compared) -> tuple[int, int, int]:
    """How many differ, are missing, weren't expected."""
    both = [one for one in found.differences if one.expected is not None and one.actual is not None]
    missing = [one for one in found.differences if one.actual is None]
    return len(both), len(missing), len(found.differences) - len(both) - len(missing)


@pytest.mark.parametrize(
    ("expected", "came", "counted"),
    [
        ([], [], (0, 0, 0)),
        ([], [1], (0, 0, 1)),
        ([1, 1], [1], (0, 1, 0)),
        ([1], [1, 1], (0, 0, 1)),
        ([1, 2, 3], [3, 1, 2], (0, 0, 0)),
        ([1, 2], [3, 4], (0, 2, 2)),
    ],
)
def test_rows_are_a_multiset(expected: list[int], came: list[int], counted: tuple[int, int, int]) -> None:
    table = pa.table({"x": pa.array(came, pa.int64())})
    assert counts(compare([{"x": one} for one in expected], table, ordered=False, texts=False)) == counted
