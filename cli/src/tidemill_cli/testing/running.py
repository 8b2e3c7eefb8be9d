"""One case: the pipeline over its rows, and what of it isn't as expected."""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill_api.errors import SpecError, TidemillError
from tidemill_api.v1alpha1._types import parse_timestamp
from tidemill_cli.rehearse.faults import finding, message_of
from tidemill_cli.rehearse.modules import reachable
from tidemill_cli.testing.compare import Compared, compare
from tidemill_cli.testing.inputs import InputError, located
from tidemill_cli.testing.model import Case, Expected, Reject, Rows
from tidemill_cli.testing.reading import Suite
from tidemill_cli.testing.rejects import Letter, fields_of, match
from tidemill_worker.engine.rehearsal import NodeFailed, Rehearsal


@dataclass(frozen=True, slots=True)
class RejectsDiffer:
    """Rejected rows that weren't expected, and expected ones (by their place) that weren't rejected."""

    missing: tuple[tuple[int, Reject], ...]
    unexpected: tuple[Letter, ...]


@dataclass(frozen=True, slots=True)
class OutputDiffers:
    """The rows of a source, step or sink aren't the expected ones."""

    name: str
    compared: Compared


@dataclass(frozen=True, slots=True)
class RunDiffers:
    """The run failed and shouldn't have, or the other way round."""

    message: str


Wrong = RejectsDiffer | OutputDiffers | RunDiffers


@dataclass(frozen=True, slots=True)
class Result:
    """What a case came to; it passed if nothing is wrong."""

    suite: Suite
    place: int
    case: Case
    seconds: float
    wrong: tuple[Wrong, ...] = ()

    @property
    def passed(self) -> bool:
        """All is as expected."""
        return not self.wrong


def run(suite: Suite, place: int) -> Result:
    """Run a case."""
    case, began = suite.tests.cases[place], time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tidemill-test-", ignore_cleanup_errors=True) as scratch:
        wrong = tuple(_wrong(suite, case, Path(scratch)))
    return Result(suite, place, case, time.perf_counter() - began, wrong)


def _wrong(suite: Suite, case: Case, scratch: Path) -> Iterator[Wrong]:
    try:
        where = located(suite.pipeline.object.spec, case, suite.folder, scratch)
        rehearsal = Rehearsal(where.spec, case.parameters, parse_timestamp(case.run_time), where.folders)
        with reachable(suite.pipeline):
            rehearsal.run()
    except InputError as error:
        yield RunDiffers(str(error))
        return
    except (NodeFailed, SpecError) as error:
        yield from _failed(suite, case, error)
        return
    if case.expect.error is not None:
        yield RunDiffers(f"the run should have failed with {case.expect.error.type}, and it succeeded")
        return
    for name, expected in case.expect.outputs.items():
        seen = rehearsal.sinks.get(name) or rehearsal.seen[name]
        compared = compare(
            rows_of(expected, suite.folder), seen.table, ordered=expected.ordered, texts=expected.rows is None
        )
        if not compared.same:
            yield OutputDiffers(name, compared)
    everyone = [*rehearsal.seen.values(), *rehearsal.sinks.values()]
    letters = [letter for seen in everyone for letter in seen.rejected.to_pylist()]
    fields = {one.name: fields_of(one, case.sources[one.name], suite.folder) for one in where.spec.sources}
    missing, unexpected = match(case.expect.rejects, letters, fields)
    if missing or unexpected:
        yield RejectsDiffer(missing, unexpected)


def _failed(suite: Suite, case: Case, error: NodeFailed | SpecError) -> Iterator[Wrong]:
    cause: TidemillError = error.error if isinstance(error, NodeFailed) else error
    wish = case.expect.error
    if wish is None:
        yield RunDiffers(f"the run fails with {cause.type}: {finding(suite.pipeline, error)}")
    elif wish.type != cause.type or wish.message not in message_of(cause):
        said = f" ({wish.message!r})" if wish.message else ""
        yield RunDiffers(
            f"the run should have failed with {wish.type}{said}, and failed with {cause.type}: {message_of(cause)}"
        )


def rows_of(rows: Expected | Rows, folder: Path) -> Sequence[Mapping[str, Any]]:
    """Expected rows, those of a CSV file with texts as values."""
    if rows.rows is not None:
        return rows.rows
    text = rows.csv if rows.csv is not None else (folder / (rows.file or "")).read_text(encoding="utf-8-sig")
    return [dict(row) for row in csv.DictReader(text.splitlines(keepends=True))]
