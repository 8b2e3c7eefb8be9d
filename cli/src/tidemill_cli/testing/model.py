"""`NAME.test.yaml`: what a pipeline is given in each case, and what must come of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tidemill_api.v1alpha1 import Model, Rule
from tidemill_api.v1alpha1._base import ListKey
from tidemill_api.v1alpha1._types import Timestamp

DEFAULT_TIME = "2026-01-01T00:00:00Z"


def _one_of(*names: str) -> Rule:
    return Rule(
        cel=None,
        message=f"exactly one of: {', '.join(names)}",
        holds=lambda s: sum(getattr(s, name) is not None for name in names) == 1,
    )


class Rows(Model):
    """Rows of a source, or rows that are expected: exactly one of rows, csv and file."""

    rows: tuple[dict[str, Any], ...] | None = None
    """Rows, each a mapping of columns to values. A column that a row leaves out has no value there."""
    csv: str | None = None
    """Text of a CSV file; for a source as its own files are written: what is wrong in it is rejected as in a run."""
    file: str | None = None
    """A file, relative to this one; for a source in its own format, else CSV with a header."""

    rules = (_one_of("rows", "csv", "file"),)


class Expected(Rows):
    """The rows that must come out of a source, step or sink: these and no others."""

    ordered: bool = False
    """They must come in this order too."""


class Reject(Model):
    """A row that must be rejected. What isn't said isn't compared."""

    step: str
    """The source, validate step or sink that rejects it."""
    rule: str | None = None
    """A rule that it breaks."""
    reason: str | None = None
    """BadValue, BadRow, RuleBroken or BadKey."""
    error: str | None = None
    """What the error says, or a part of it."""
    line: int | None = None
    """Its line in the file of the source, from 1; the header is one."""
    row: str | dict[str, Any] | None = None
    """The row as its file has it; or some of its columns, by the names in the file (or those of the step, if a query
    made them)."""


class Failure(Model):
    """How the run must fail."""

    type: str
    """Type of the error, such as StepFailed, BadRow or NewColumn."""
    message: str = ""
    """What its message says, or a part of it."""


class Expect(Model):
    """What must come of a case."""

    outputs: dict[str, Expected] = Field(default_factory=dict)
    """Rows by source, step or sink (a name that a step and a sink share means the sink). Only the columns that they
    name are compared; those of the others aren't looked at."""
    rejects: tuple[Reject, ...] = ()
    """All the rows that are rejected; none, if not given."""
    error: Failure | None = None
    """The run fails with this."""

    rules = (
        Rule(
            cel=None,
            message="a run that fails has no outputs and rejects to compare",
            holds=lambda s: s.error is None or not (s.outputs or s.rejects),
            field=".error",
        ),
    )


class Case(Model):
    """One run of the pipeline with rows of its own."""

    name: Annotated[str, Field(min_length=1)]
    """What it shows."""
    run_time: Timestamp = DEFAULT_TIME
    """Nominal time of the run: `$run_time`."""
    parameters: dict[str, str | int] = Field(default_factory=dict)
    """Parameters of the run, as a DataPipelineRun has them."""
    sources: dict[str, Rows]
    """What each source reads. All sources of the pipeline are needed; `rows: []` is a file without rows."""
    expect: Expect
    """What must come of it."""


class TestFile(Model):
    """Cases of a pipeline."""

    __test__ = False
    manifests: tuple[str, ...] = (".",)
    """The pipeline's manifest: files or folders, relative to this file."""
    pipeline: str | None = None
    """Name of the DataPipeline; needed where the manifests have several and none is called as this file is."""
    cases: Annotated[tuple[Case, ...], Field(min_length=1), ListKey("name")]
    """The cases."""
