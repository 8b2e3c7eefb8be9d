"""From manifests to a picture on stdout, and an exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tidemill_cli.dev.reading import ManifestsError, UsageError, runnable
from tidemill_cli.graph.dot import dot
from tidemill_cli.graph.mermaid import mermaid
from tidemill_cli.graph.picture import picture
from tidemill_cli.manifests import load_manifests

FAILED: Final = 1
USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    paths: tuple[Path, ...]
    pipeline: str | None = None
    output: Literal["mermaid", "dot"] = "mermaid"


def graph(options: Options) -> int:
    """Print the picture; returns the exit code."""
    try:
        print(drawn(options), end="")
    except (UsageError, FileNotFoundError) as error:
        print(f"tidemill graph: {error}", file=sys.stderr)
        return USAGE
    except ManifestsError as error:
        print(error, file=sys.stderr)
        return FAILED
    return 0


def drawn(options: Options) -> str:
    """The picture's text. Raises `UsageError`, `FileNotFoundError` or, with all problems, `ManifestsError`."""
    pipelines = [one.object for one in runnable(load_manifests(options.paths), options.pipeline)]
    if len(pipelines) > 1:
        names = ", ".join(sorted(one.metadata.name for one in pipelines))
        raise UsageError(f"a picture is of one pipeline, and there are {names}: choose by --pipeline")
    return (dot if options.output == "dot" else mermaid)(picture(pipelines[0]))
