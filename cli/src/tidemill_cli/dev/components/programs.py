"""Where the components' programs are: in this environment's wheels, else on the PATH."""

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
from pathlib import Path

from tidemill_cli.dev.components.component import ComponentError


def script(name: str, *, distribution: str) -> Path:
    """A program that the wheel `distribution` puts beside this Python's own, else one on the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / name
    if beside.exists():
        return beside
    found = shutil.which(name)
    if found is None:
        raise _missing(name, distribution)
    return Path(found)


def packaged(module: str, *relative: str, distribution: str, name: str) -> Path:
    """A program inside an installed package: the first of the relative paths that exists, else one on the PATH.

    The package is only located, never imported: some do much on import.
    """
    spec = importlib.util.find_spec(module)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for path in relative:
            if (program := Path(folder) / path).exists():
                return program
    found = shutil.which(name)
    if found is None:
        raise _missing(name, distribution)
    return Path(found)


def _missing(name: str, distribution: str) -> ComponentError:
    return ComponentError(
        f"the program {name} was not found: install it with `pip install 'tidemill[dev]'` "
        f"(or `pip install {distribution}` alone), or put one on the PATH"
    )
