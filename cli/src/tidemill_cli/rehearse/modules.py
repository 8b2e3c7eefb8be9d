"""Modules of Python steps and sources, on this machine: they lie beside the manifest, or in this environment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill_api.v1alpha1 import DataPipeline
from tidemill_check.python import entrypoints
from tidemill_cli.manifests import Manifest


def folder_of(pipeline: Manifest[DataPipeline]) -> Path | None:
    """Where the modules lie that a pipeline names: in the folder of its manifest. None if it names none."""
    return pipeline.place.file.parent.resolve() if any(entrypoints(pipeline.object.spec)) else None


@contextmanager
def reachable(pipeline: Manifest[DataPipeline]) -> Iterator[None]:
    """Python finds the modules in the body, after all others; what was imported from there is forgotten at its end.

    So two pipelines of one command may each have a module `steps`.
    """
    folder = folder_of(pipeline)
    if folder is None:
        yield
        return
    before = set(sys.modules)
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder):
                del sys.modules[name]
