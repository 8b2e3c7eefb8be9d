"""Test files with the pipeline that each is about; all that is wrong with them, with file, line and field."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tidemill_api.v1alpha1 import DataPipeline
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec
from tidemill_check.parameters import check_parameters
from tidemill_check.problem import suggestion
from tidemill_cli.dev.reading import UsageError, errors_in
from tidemill_cli.lint.finding import Finding
from tidemill_cli.lint.shape import field_path, field_text, fit
from tidemill_cli.lint.yaml_text import Document, Position, read_documents
from tidemill_cli.manifests import STDIN, STDIN_SHOWN, TEST_ENDING, Manifest, Manifests, load_manifests
from tidemill_cli.rehearse.folders import stand_in
from tidemill_cli.testing.model import Case, Rows, TestFile


class WrongError(Exception):
    """The tests can't be run; each problem is a line."""

    def __init__(self, problems: Sequence[Finding]) -> None:
        """At least one problem."""
        super().__init__("\n".join(map(str, problems)))


@dataclass(frozen=True, slots=True)
class Suite:
    """A test file and its pipeline."""

    file: Path
    document: Document
    tests: TestFile
    pipeline: Manifest[DataPipeline]

    @property
    def folder(self) -> Path:
        """Where its relative paths start."""
        return self.file.parent

    def position(self, field: str) -> Position:
        """Where a field stands."""
        return self.document.at(field_path(field))


def read(paths: Sequence[Path], manifests: Sequence[Path]) -> tuple[Suite, ...]:
    """The test files below the paths. `manifests`, if any are given, go before those that the files name.

    Raises UsageError, FileNotFoundError, or WrongError with all problems of the files.
    """
    files = tuple(dict.fromkeys(_files(paths)))
    if not files:
        raise UsageError(f"there is no file *{TEST_ENDING} in {', '.join(map(str, paths))}")
    given = load_manifests(manifests) if manifests else None
    _load.cache_clear()  # what lies there may have changed since it was last asked for
    suites: list[Suite] = []
    problems: list[Finding] = []
    for file in files:
        found = _suite(file, given)
        if isinstance(found, Suite):
            suites.append(found)
        else:
            problems.extend(found)
    if problems:
        raise WrongError(tuple(dict.fromkeys(problems)))
    return tuple(suites)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path == STDIN:
            yield STDIN_SHOWN
        elif path.is_dir():
            yield from sorted(one for one in path.rglob(f"*{TEST_ENDING}") if one.is_file())
        elif not path.exists():
            raise FileNotFoundError(f"{path}: there is no such file or folder")
        elif path.name.endswith(TEST_ENDING):
            yield path
        else:
            beside = path.with_name(path.stem + TEST_ENDING)
            if not beside.is_file():
                raise UsageError(f"{path} is no test file, and there is no {beside.name} beside it")
            yield beside


def _suite(file: Path, given: Manifests | None) -> Suite | Sequence[Finding]:
    try:
        data = sys.stdin.buffer.read() if file == STDIN_SHOWN else file.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return [Finding(file, 1, 1, "", f"can't be read: {error}")]
    documents = [one for one in read_documents(text) if one.value is not None or one.remarks]
    if not documents:
        return [Finding(file, 1, 1, "", "is empty: write `cases:`")]
    document, *others = documents
    problems = [_at(file, document, one.path, one.message, one.position) for one in document.remarks if one.error]
    problems += [_at(file, one, (), "a second document: a test file has one only") for one in others]
    if problems or not isinstance(document.value, dict):
        return problems or [_at(file, document, (), "must be a mapping with `cases:`")]
    tests, misfits = fit(TestFile, document.value)
    if tests is None or misfits:
        return [_at(file, document, one.path, one.message, key=one.at_key) for one in misfits]
    return _with_pipeline(file, document, tests, given)


def _with_pipeline(file: Path, document: Document, tests: TestFile, given: Manifests | None) -> Suite | list[Finding]:
    try:
        found = given or _load(tuple(file.parent / each for each in tests.manifests))
    except FileNotFoundError as error:
        return [_at(file, document, ("manifests",), str(error))]
    if errors := errors_in(found):
        return errors
    known = {one.object.metadata.name: one for one in found.pipelines}
    wished = tests.pipeline or file.name.removesuffix(TEST_ENDING)
    pipeline = known.get(wished) or (next(iter(known.values())) if len(known) == 1 and not tests.pipeline else None)
    if pipeline is None:
        what = f"there is no DataPipeline {wished} in the manifests{suggestion(wished, known)}"
        return [_at(file, document, ("pipeline",), what if tests.pipeline else f"{what}: say which one is tested")]
    suite = Suite(file, document, tests, pipeline)
    return [_at(file, document, field_path(field), what) for field, what in _faults(suite)] or suite


@lru_cache(maxsize=64)
def _load(paths: tuple[Path, ...]) -> Manifests:
    return load_manifests(paths)


def _faults(suite: Suite) -> Iterator[tuple[str, str]]:
    """What the cases say that the pipeline hasn't."""
    spec = suite.pipeline.object.spec
    for place, case in enumerate(suite.tests.cases):
        at = f"cases[{place}]"
        sources = [source.name for source in spec.sources]
        for name in case.sources:
            if name not in sources:
                yield f"{at}.sources.{name}", f"the pipeline has no source {name}{suggestion(name, sources)}"
        for source in spec.sources:
            form = stand_in(source)
            if form.csv is None and source.name in case.sources and case.sources[source.name].csv:
                message = f"the files of {source.name} are no CSV: give rows, or a file in their format"
                yield f"{at}.sources.{source.name}.csv", message
        if missing := [name for name in sources if name not in case.sources]:
            yield (
                f"{at}.sources",
                f"gives no rows for {', '.join(missing)}: write `{missing[0]}: {{rows: []}}` for none",
            )
        for problem in check_parameters(spec, case.parameters):
            yield f"{at}.{problem.field.removeprefix('spec.')}", problem.message
        yield from _expectations(at, case, spec)
        given = [(f"sources.{name}", rows) for name, rows in case.sources.items()]
        for where, rows in [*given, *((f"expect.outputs.{name}", rows) for name, rows in case.expect.outputs.items())]:
            yield from _file(f"{at}.{where}.file", rows, suite.folder)


def _expectations(at: str, case: Case, spec: DataPipelineSpec) -> Iterator[tuple[str, str]]:
    steps = [source.name for source in spec.sources] + [step.name for step in spec.steps]
    nodes = [*steps, *(sink.name for sink in spec.sinks)]
    for name in case.expect.outputs:
        if name not in nodes:
            yield f"{at}.expect.outputs.{name}", f"there is no source, step or sink {name}{suggestion(name, nodes)}"
    functions = {step.name for step in spec.steps if step.python is not None}  # who knows what rules they have
    rules = {step.name: [rule.name for rule in step.validate_.rules_] for step in spec.steps if step.validate_}
    for index, reject in enumerate(case.expect.rejects):
        where = f"{at}.expect.rejects[{index}]"
        if reject.step not in nodes:
            yield f"{where}.step", f"there is no source, step or sink {reject.step}{suggestion(reject.step, nodes)}"
        elif reject.rule is not None and reject.step not in functions and reject.rule not in rules.get(reject.step, ()):
            known = suggestion(reject.rule, rules.get(reject.step, ())) or "; it has none"
            yield f"{where}.rule", f"{reject.step} has no rule {reject.rule}{known}"


def _file(field: str, rows: Rows, folder: Path) -> Iterator[tuple[str, str]]:
    if rows.file is not None and not (folder / rows.file).is_file():
        yield field, f"there is no file {folder / rows.file}"


def _at(
    file: Path,
    document: Document,
    path: tuple[str | int, ...],
    message: str,
    position: Position | None = None,
    *,
    key: bool = False,
) -> Finding:
    where = position or document.at(path, key=key)
    return Finding(file, where.line, where.column, field_text(path), message)
