"""Results for people, for programs, and for CI (JUnit's XML)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, assert_never
from xml.sax.saxutils import escape, quoteattr

from tidemill_cli.rehearse.values import printable
from tidemill_cli.testing.compare import Compared, Difference
from tidemill_cli.testing.model import Reject
from tidemill_cli.testing.rejects import Letter
from tidemill_cli.testing.running import OutputDiffers, RejectsDiffer, Result, RunDiffers

_SHOWN: Final = 20
"""Most rows that are shown of a difference."""


def line(result: Result) -> str:
    """One line for a case."""
    word = "pass" if result.passed else "FAIL"
    return f"{word}  {result.suite.file}: {result.case.name}  ({result.seconds:.2f} s)"


def summary(results: Sequence[Result]) -> str:
    """The last line."""
    failed = sum(not each.passed for each in results)
    cases = f"{len(results)} case{'' if len(results) == 1 else 's'}"
    return f"{cases}: {len(results) - failed} passed, {failed} failed"


def details(result: Result) -> Iterator[str]:
    """What is wrong, line by line."""
    for wrong in result.wrong:
        match wrong:
            case RunDiffers():
                yield printable(wrong.message)
            case OutputDiffers():
                yield from _output(result, wrong.name, wrong.compared)
            case RejectsDiffer():
                yield from _rejects(result, wrong)
            case _:
                assert_never(wrong)


def _output(result: Result, name: str, compared: Compared) -> Iterator[str]:
    if compared.unknown:
        yield f"{name}: there is no column {', '.join(compared.unknown)}; it has {', '.join(compared.has)}"
        return
    rows = f"{compared.expected} expected, {compared.actual} came"
    yield f"{name}: {compared.order or rows}"
    for one in compared.differences[:_SHOWN]:
        yield from (f"  {text}" for text in _difference(result, name, one))
    if (more := len(compared.differences) - _SHOWN) > 0:
        yield f"  and {more} more rows"


def _difference(result: Result, name: str, one: Difference) -> Iterator[str]:
    if one.expected is None:
        yield f"not expected: {_row(one.actual or {})}"
        return
    place = one.expected_at or 0
    where = ""
    if result.case.expect.outputs[name].rows is not None:
        position = result.suite.position(f"cases[{result.place}].expect.outputs.{name}.rows[{place}]")
        where = f" ({result.suite.file}:{position.line})"
    if one.actual is None:
        yield f"missing: {_row(one.expected)}{where}"
        return
    same = {column: value for column, value in one.expected.items() if column not in one.columns}
    yield f"differs: {_row(same)}{where}"
    width = max(map(len, one.columns))
    for column in one.columns:
        yield f"  {column.ljust(width)}  expected {_value(one.expected[column])}"
        yield f"  {' ' * width}    actual {_value(one.actual[column])}"


def _rejects(result: Result, wrong: RejectsDiffer) -> Iterator[str]:
    yield "rejected rows:"
    for place, reject in wrong.missing[:_SHOWN]:
        position = result.suite.position(f"cases[{result.place}].expect.rejects[{place}]")
        yield f"  missing: {_row(_reject(reject))} ({result.suite.file}:{position.line})"
    for letter in wrong.unexpected[:_SHOWN]:
        why = ", ".join(letter["rules"]) or f"{letter['reason']}: {letter['error']}"
        row = letter["row_columns"] or letter["row_text"] or ""
        yield printable(f"  not expected: by {letter['step']}, line {letter['line']}, {why}: {row}")
    if (more := max(len(wrong.missing), len(wrong.unexpected)) - _SHOWN) > 0:
        yield f"  and up to {more} more of each"


def _reject(reject: Reject) -> dict[str, Any]:
    return reject.model_dump(by_alias=True, exclude_none=True)


def _row(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{printable(name)}={_value(value)}" for name, value in row.items()) or "a row"


def _value(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False, default=str)) if value is not None else "NULL"


def as_json(result: Result) -> dict[str, Any]:
    """A case's result."""
    return {
        "file": str(result.suite.file),
        "line": result.suite.position(f"cases[{result.place}]").line,
        "case": result.case.name,
        "pipeline": result.suite.pipeline.object.metadata.name,
        "result": "passed" if result.passed else "failed",
        "seconds": round(result.seconds, 3),
        "differences": [_wrong_as_json(wrong) for wrong in result.wrong],
    }


def _wrong_as_json(wrong: OutputDiffers | RejectsDiffer | RunDiffers) -> dict[str, Any]:
    match wrong:
        case RunDiffers():
            return {"kind": "run", "message": wrong.message}
        case OutputDiffers():
            compared = wrong.compared
            rows = [
                {"expected": one.expected, "actual": one.actual, "columns": one.columns} for one in compared.differences
            ]
            told = {"unknownColumns": compared.unknown, "order": compared.order or None}
            return {"kind": "output", "name": wrong.name, "rows": rows, **told}
        case RejectsDiffer():
            return {
                "kind": "rejects",
                "missing": [_reject(reject) for _, reject in wrong.missing],
                "unexpected": [_letter(letter) for letter in wrong.unexpected],
            }
        case _:
            assert_never(wrong)


def _letter(letter: Letter) -> dict[str, Any]:
    row = letter["row_columns"] or letter["row_text"]
    return {**{name: letter[name] for name in ("step", "line", "reason", "rules", "error")}, "row": row}


def junit(results: Sequence[Result]) -> str:
    """The results as JUnit writes them: a suite for each file."""
    files = list(dict.fromkeys(result.suite.file for result in results))
    suites = "".join(_suite(str(file), [one for one in results if one.suite.file == file]) for file in files)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {_totals(results)}>\n{suites}</testsuites>\n'


def _suite(name: str, results: Sequence[Result]) -> str:
    cases = "".join(map(_case, results))
    return f"  <testsuite name={quoteattr(_xml(name))} {_totals(results)}>\n{cases}  </testsuite>\n"


def _case(result: Result) -> str:
    metadata = result.suite.pipeline.object.metadata
    head = (
        f"    <testcase classname={quoteattr(f'{metadata.namespace}.{metadata.name}')} "
        f"name={quoteattr(_xml(result.case.name))} file={quoteattr(_xml(str(result.suite.file)))} "
        f'time="{result.seconds:.3f}"'
    )
    if result.passed:
        return f"{head}/>\n"
    text = list(details(result))
    return (
        f"{head}>\n      <failure message={quoteattr(_xml(text[0]))}>"
        f"{escape(_xml(chr(10).join(text)))}</failure>\n    </testcase>\n"
    )


def _totals(results: Sequence[Result]) -> str:
    failed, seconds = sum(not each.passed for each in results), sum(each.seconds for each in results)
    return f'tests="{len(results)}" failures="{failed}" errors="0" time="{seconds:.3f}"'


def _xml(text: str) -> str:
    """Without the characters that XML can't hold."""
    return "".join(each if each in "\t\n" or each.isprintable() else "\ufffd" for each in text)
