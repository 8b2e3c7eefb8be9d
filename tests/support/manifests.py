"""Manifests for tests: the good ones of `tests/golden/manifests`, changes of them, and what our models say."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tidemill_api.v1alpha1 import KINDS, Resource
from tidemill_cli.lint.shape import field_text, fit

GOLDEN: Final = Path(__file__).resolve().parents[1] / "golden" / "manifests"
MODELS: Final[Mapping[str, type[Resource]]] = {kind.kind_name(): kind for kind in KINDS}
DELETE: Final = object()
"""In `changed`: the field is taken away."""

Manifest = dict[str, Any]


def load(name: str) -> list[Manifest]:
    """The documents of a good file, such as `pipeline`."""
    return copy.deepcopy(_read(name))


@lru_cache
def _read(name: str) -> list[Manifest]:
    yaml = YAML(typ="safe", pure=True)
    return list(yaml.load_all((GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")))


def good() -> dict[str, Manifest]:
    """All good manifests by `file/kind/name`."""
    files = sorted(file.stem for file in GOLDEN.glob("*.yaml"))
    documents = ((file, document) for file in files for document in load(file))
    return {f"{file}/{d['kind']}/{d['metadata']['name']}": d for file, d in documents}


def steps_of(path: str) -> list[str | int]:
    """`spec.sinks[0].input` as `["spec", "sinks", 0, "input"]`."""
    return [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path)]


def changed(manifest: Manifest, changes: Mapping[str, object]) -> Manifest:
    """A copy with the value at each path replaced, added, or taken away (`DELETE`)."""
    new = copy.deepcopy(manifest)
    for path, value in changes.items():
        *above, last = steps_of(path)
        at: Any = new
        for part in above:
            at = at[part]
        if value is DELETE:
            del at[last]
        elif _is_next(at, last):
            at.append(value)
        else:
            at[last] = copy.deepcopy(value)
    return new


def _is_next(at: Any, last: str | int) -> bool:
    return isinstance(at, list) and last == len(at)


def python_verdict(manifest: Manifest) -> dict[str, str]:
    """What our models say about a manifest: field -> sentence; empty for a good one."""
    _, misfits = fit(MODELS[manifest["kind"]], manifest)
    return {field_text(misfit.path): misfit.message for misfit in misfits}
