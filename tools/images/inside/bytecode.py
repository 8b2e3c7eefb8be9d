"""Bytecode for all modules of a layer, so that no process compiles anything and files' times don't matter."""

from __future__ import annotations

import compileall
import py_compile
import shutil
import sys
from pathlib import Path


def compile_tree(root: Path, layer: Path) -> None:
    """Compile what is below `root`, a part of the folder `layer`, anew.

    The modules remember the path that they will have in the image. Bytecode is bound to its source by nothing
    (`UNCHECKED_HASH`): the source can't change under it, since the root is read-only.
    """
    for cache in sorted(root.rglob("__pycache__")):
        shutil.rmtree(cache)
    done = compileall.compile_dir(
        root,
        maxlevels=50,
        quiet=2,
        stripdir=str(layer),
        prependdir="/",
        force=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not done:
        # Some packages bring files of other Python versions, or templates; they are no modules of this one.
        print(f"not all files below {root} are modules of Python {sys.version_info.major}.{sys.version_info.minor}")
