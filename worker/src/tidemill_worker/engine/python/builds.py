"""Which code a function is: its package's files, what lies beside it, and the versions of what is installed.

Code that was changed while this process runs isn't what the process has loaded: then there is no word for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import platform
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

_STARTED: Final = time.time()
"""Seconds since 1970. No function was imported before, since all are imported by this package."""
MOST_FILES: Final = 10_000
MOST_BYTES: Final = 256 << 20
_log: Final = logging.getLogger(__name__)
_known: dict[str, str | None] = {}
_lock: Final = threading.Lock()


def build_of(entrypoint: str) -> str | None:
    """The same in all workers that have the same code for a function; None where that can't be known.

    Found out once a process. Blocks.
    """
    package = entrypoint.partition(":")[0].partition(".")[0]
    with _lock:
        if package not in _known:
            _known[package] = _build(package)
            if _known[package] is None:
                _log.warning("what functions of %s give isn't kept: there is no telling which code they are", package)
        return _known[package]


def _build(package: str) -> str | None:
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    homes = [Path(each) for each in found.submodule_search_locations or ()]
    if not homes and found.origin is None:
        return None
    files: dict[Path, None] = {}
    roots = [home.parent for home in homes] or [Path(str(found.origin)).parent]
    for home in homes:
        files |= dict.fromkeys(_below(home))
    if not homes:
        files[Path(str(found.origin))] = None
    for root in roots:
        if not _installed(root):
            files |= dict.fromkeys(each for each in _below(root) if each.suffix == ".py")
    return _hashed(roots, sorted(files), imported=package in sys.modules)


@cache
def _environment() -> bytes:
    """Python's version and those of all that is installed."""
    installed = sorted(f"{each.name}=={each.version}" for each in distributions())
    return "\n".join((platform.python_version(), *installed)).encode()


def _installed(folder: Path) -> bool:
    """Whether a folder is one of those that packages are installed to, whose versions say enough."""
    return any(folder == Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib"))


def _below(folder: Path) -> Iterator[Path]:
    """The files of a folder and all below it, but for what is hidden, compiled, or an environment of its own."""
    for path, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and name != "__pycache__" and not Path(path, name, "pyvenv.cfg").exists()
        ]
        yield from (Path(path, name) for name in names if not name.startswith(".") and not name.endswith(".pyc"))


def _hashed(roots: Sequence[Path], files: list[Path], *, imported: bool) -> str | None:
    if len(files) > MOST_FILES:
        return None
    hashed = hashlib.sha256(_environment())
    left = MOST_BYTES
    try:
        for file in files:
            told = file.stat()
            left -= told.st_size
            if left < 0 or (imported and told.st_mtime > _STARTED):
                return None
            name = os.fsencode(next(file.relative_to(root) for root in roots if file.is_relative_to(root)))
            hashed.update(name + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    except OSError:
        return None
    return hashed.hexdigest()
