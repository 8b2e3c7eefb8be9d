"""From arguments to tables, or JSON, and an exit code."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tidemill_api.errors import SpecError
from tidemill_api.v1alpha1 import DataPipeline
from tidemill_cli.dev.reading import ManifestsError, UsageError, chosen, given_parameters, runnable
from tidemill_cli.dev.settings import SettingsError, load
from tidemill_cli.lint.finding import Finding
from tidemill_cli.manifests import Manifest, Manifests, load_manifests

FAILED: Final = 1
USAGE: Final = 2
READ_BYTES: Final = 16 << 20
"""Most bytes that are read of a source that isn't needed whole."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    paths: tuple[Path, ...]
    pipeline: str | None = None
    rows: int = 10
    sources: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    run_time: str | None = None
    output: Literal["text", "wide", "json"] = "text"


def preview(options: Options) -> int:
    """Show the pipelines' first rows; returns the exit code."""
    try:
        manifests = load_manifests(options.paths)
        pipelines = runnable(manifests, options.pipeline)
        return max(_one(pipeline, manifests, options) for pipeline in pipelines)
    except (UsageError, FileNotFoundError) as error:
        print(f"tidemill preview: {error}", file=sys.stderr)
        return USAGE
    except (ManifestsError, SettingsError) as error:
        print(error, file=sys.stderr)
        return FAILED


def _one(pipeline: Manifest[DataPipeline], manifests: Manifests, options: Options) -> int:
    # The columnar libraries take a while to import: an answer about the manifests doesn't wait for them.
    from tidemill_cli.preview.show import Page
    from tidemill_cli.rehearse.faults import finding
    from tidemill_cli.rehearse.folders import Located, check_names, locate, pairs
    from tidemill_cli.rehearse.modules import reachable
    from tidemill_cli.rehearse.times import run_time
    from tidemill_worker.engine.rehearsal import Bounds, NodeFailed, Rehearsal

    everyone = chosen(manifests, options.pipeline)
    folders, files = pairs("--folder", options.folders), pairs("--source", options.sources)
    check_names(everyone, folders, files)
    given = given_parameters(options.parameters, [one.object.spec for one in everyone])
    mine = {one.name for one in pipeline.object.spec.parameters}
    located = locate(pipeline, manifests.pools, load, folders, files)
    if not isinstance(located, Located):
        raise ManifestsError(located)
    moment = run_time(options.run_time)
    failure: Finding | None = None
    rehearsal: Rehearsal | None = None
    try:
        rehearsal = Rehearsal(
            located.spec,
            {name: value for name, value in given.items() if name in mine},
            moment,
            located.folders,
            Bounds(options.rows, READ_BYTES),
        )
        with reachable(pipeline):
            rehearsal.run()
    except (NodeFailed, SpecError) as error:
        failure = finding(pipeline, error)
    page = Page(pipeline.object, moment, options.rows, rehearsal, failure)
    if options.output == "json":
        print(json.dumps(page.as_json(), ensure_ascii=False))
    else:
        page.print(wide=options.output == "wide")
    if failure is not None:
        sys.stdout.flush()
        print(failure, file=sys.stderr)
    return FAILED if failure is not None else 0
