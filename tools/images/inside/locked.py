"""The part of `requirements.lock` that one image needs: still pinned, still with hashes.

The lock is one for all parts and extras, and its comments say what each line is there `via`. So what an extra needs is
found by following these comments from the extra's own names: no network, and no second lock to keep in step. A package
that only another extra of a shared dependency asks for can come along; none can be missing (`dependencies.py` asks
pip to check).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VIA = re.compile(r"^    #(?: via)? +([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)


class LockError(Exception):
    """The lock doesn't hold what is asked of it."""


def normal(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def blocks(lock: str) -> dict[str, str]:
    """The lock's text by distribution: its line, its hashes, its comments."""
    found: dict[str, str] = {}
    for block in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)[1:]:
        name = _NAME.match(block)
        assert name is not None
        found[normal(name[0])] = block
    return found


def closure(lock: str, roots: Iterable[str]) -> str:
    """The lock's text for these distributions and all that they need.

    Raises:
        LockError: A root is not in the lock.
    """
    known = blocks(lock)
    needs: dict[str, set[str]] = {}
    for name, block in known.items():
        for parent in _VIA.findall(block):
            needs.setdefault(normal(parent), set()).add(name)
    wanted: set[str] = set()
    waiting = [normal(root) for root in roots]
    while waiting:
        name = waiting.pop()
        if name not in known:
            raise LockError(f"requirements.lock has no {name}: `make lock` makes it anew")
        if name not in wanted:
            wanted.add(name)
            waiting.extend(needs.get(name, ()))
    return "".join(known[name] for name in sorted(wanted))


def only(lock: str, names: Iterable[str]) -> str:
    """The lock's text for exactly these distributions. Raises LockError as `closure`."""
    known = blocks(lock)
    missing = sorted(normal(name) for name in names if normal(name) not in known)
    if missing:
        raise LockError(f"requirements.lock has no {', '.join(missing)}: `make lock` makes it anew")
    return "".join(known[normal(name)] for name in sorted(names))


def roots_of(pyproject: str, extras: Sequence[str]) -> list[str]:
    """Names of the distributions that the project itself and these extras of it ask for."""
    project: Mapping[str, object] = tomllib.loads(pyproject)["project"]
    listed = project.get("dependencies", [])
    optional = project.get("optional-dependencies", {})
    assert isinstance(listed, list)
    assert isinstance(optional, dict)
    missing = [extra for extra in extras if extra not in optional]
    if missing:
        raise LockError(f"pyproject.toml has no extra {', '.join(missing)}")
    lines = [*listed, *(line for extra in extras for line in optional[extra])]
    return [normal(name[0]) for line in lines if (name := _NAME.match(str(line)))]
