"""What `tidemill dev` is asked to do: the command line and the manifests become a layout, or all problems at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tidemill_api.v1alpha1 import DataPipeline
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec
from tidemill_api.v1alpha1.datapipelinerun import Replay
from tidemill_check.parameters import check_parameters
from tidemill_cli.dev.layout import Layout, lay_out, with_artifacts
from tidemill_cli.dev.settings import SettingsFile, load
from tidemill_cli.lint.finding import Finding
from tidemill_cli.lint.meaning import check_manifests
from tidemill_cli.manifests import Manifest, Manifests, load_manifests


class UsageError(Exception):
    """The command line is wrong; the message says what would be right."""


class ManifestsError(Exception):
    """The manifests can't be used; each problem is a line."""

    def __init__(self, problems: Iterable[object]) -> None:
        """At least one problem."""
        super().__init__("\n".join(map(str, problems)))


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    paths: tuple[Path, ...]
    once: bool = False
    output: Literal["text", "json"] = "text"
    data_dir: Path | None = None
    parameters: tuple[str, ...] = ()
    pipeline: str | None = None
    """Only this one."""
    replay: Replay | None = None
    """Rejected rows to run again, instead of the sources."""


def read(options: Options) -> Layout:
    """What to run.

    Raises `UsageError`, or `ManifestsError`, `SettingsError`, `LayoutError` with all problems of their kind.
    """
    try:
        manifests = load_manifests(options.paths)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from None
    if problems := errors_in(manifests):
        raise ManifestsError(problems)
    given = given_parameters(options.parameters, [one.object.spec for one in manifests.pipelines])
    pipelines = chosen(manifests, options.pipeline)
    return lay_out(pipelines, manifests.pools, _settings, given, os.environ)


@cache
def _settings(folder: Path) -> SettingsFile:
    return load(folder)


def errors_in(manifests: Manifests) -> list[Finding]:
    """What keeps the manifests from being run; they needn't say where kept rows go."""
    return [one for one in check_manifests(with_artifacts(manifests), to_run=True) if one.severity == "error"]


def runnable(manifests: Manifests, name: str | None) -> list[Manifest[DataPipeline]]:
    """As `chosen`, and at least one. Raises `ManifestsError` for manifests with errors, too."""
    if problems := errors_in(manifests):
        raise ManifestsError(problems)
    if not (pipelines := chosen(manifests, name)):
        raise UsageError("there is no DataPipeline in the given files")
    return pipelines


def chosen(manifests: Manifests, name: str | None) -> list[Manifest[DataPipeline]]:
    """The pipelines of that name, or all. Raises `UsageError` if there is none of that name."""
    pipelines = [one for one in manifests.pipelines if name in (None, one.object.metadata.name)]
    if name is not None and not pipelines:
        known = ", ".join(sorted(one.object.metadata.name for one in manifests.pipelines))
        raise UsageError(f"there is no DataPipeline {name} in the given files; there is {known or 'none'}")
    return pipelines


def given_parameters(texts: Sequence[str], specs: Sequence[DataPipelineSpec]) -> dict[str, str]:
    """`name=value` texts by name; each fits the types declared for it. Raises `UsageError`."""
    given: dict[str, str] = {}
    known = sorted({one.name for spec in specs for one in spec.parameters})
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--param {text}: write it as name=value")
        if name not in known:
            raise UsageError(f"--param {name}: no pipeline declares it; declared are: {', '.join(known) or 'none'}")
        given[name] = value
    for spec in specs:
        declared = {one.name for one in spec.parameters}
        for problem in check_parameters(spec, {name: value for name, value in given.items() if name in declared}):
            raise UsageError(f"--param {problem.field.removeprefix('spec.parameters.')}: {problem.message}")
    return given
