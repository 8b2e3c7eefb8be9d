"""Functions that a pipeline names, looked for in modules beside its manifest. Nothing of them is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tidemill_api.v1alpha1 import DataPipeline
from tidemill_check.problem import suggestion
from tidemill_check.python import entrypoints
from tidemill_cli.lint.finding import Finding
from tidemill_cli.manifests import Manifest


def functions(pipeline: Manifest[DataPipeline]) -> Iterator[Finding]:
    """Warnings: the image of the workers may have what isn't here, and lint can't know that."""
    for field, entrypoint in entrypoints(pipeline.object.spec):
        why = _missing(pipeline.place.file.parent, entrypoint)
        if why:
            yield pipeline.place.finding(field, why, "warning")


def _missing(folder: Path, entrypoint: str) -> str:
    """What isn't there of a function; empty if all is, or if its package isn't beside the manifest at all."""
    module, _, function = entrypoint.partition(":")
    parts = module.split(".")
    if not (folder / parts[0]).is_dir() and not (folder / f"{parts[0]}.py").is_file():
        return ""
    base = folder.joinpath(*parts)
    file = next((one for one in (base / "__init__.py", base.with_suffix(".py")) if one.is_file()), None)
    if file is None:
        return f"there is no module {module} in {folder}"
    try:
        names = set(_names(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError, OSError) as error:
        return f"{file} is no module of Python: {error}"
    if function in names or "*" in names:
        return ""
    return f"{file} has no function {function}{suggestion(function, names)}"


def _names(tree: ast.Module) -> Iterator[str]:
    """What a module defines, wherever in it, so that nothing is called missing that may be there."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.ImportFrom(names=names):
                yield from (each.asname or each.name for each in names)
            case _:
                pass
