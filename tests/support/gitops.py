"""What GitOps tools make of objects: kstatus (as Flux and Kubernetes' tools have it) and Argo CD's Lua."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.support.kubernetes import ROOT
from tests.support.operator_world import Manifest

ARGOCD = ROOT / "deploy" / "argocd" / "tidemill.dev"


def kstatus(objects: Iterable[Manifest]) -> list[Manifest]:
    """The verdict on each object: its `status`, what `flux` says, and a message."""
    done = _run("kstatus", json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
    return [json.loads(line) for line in done.splitlines()]


def health(manifest: Manifest) -> Manifest:
    """What `health.lua` of the object's kind says."""
    found: Manifest = lua(manifest, "health.lua")
    return found


def lua(manifest: Manifest, script: str) -> Any:
    """What a script of the object's kind returns for it."""
    return json.loads(_run("argolua", json.dumps(manifest), str(ARGOCD / manifest["kind"] / script)))


def _run(program: str, stdin: str, *arguments: str) -> str:
    done = subprocess.run(
        [str(_folder() / program), *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{program} {' '.join(arguments)}: {done.stderr}")
    return done.stdout


@lru_cache
def _folder() -> Path:
    """Where both programs are; they are built if they aren't there, which takes Go and half a minute."""
    command = [sys.executable, str(ROOT / "tools" / "envtest.py"), "kstatus", "argolua"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"kstatus and argolua can't be built: {done.stderr}")
    return Path(done.stdout.strip())


_PASSING = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?UTC|Z)?"), "2026-01-01T00:00:00Z"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "00000000-0000-0000-0000-000000000000"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "0" * 64),
    (re.compile(r"127\.0\.0\.1:\d+"), "temporal:7233"),
    (re.compile(r"\d{10}\.\d+-[0-9a-f]{8}"), "1767225600.000000-00000000"),
    (re.compile(r'"seconds": [\d.]+'), '"seconds": 1.0'),
    (re.compile(r"file:///[^\"]*/landing/?"), "file:///data/"),
)


def lasting(manifest: Manifest, **names: str) -> Manifest:
    """An object without what differs from one recording to the next; `names` are replaced by their keywords."""
    text = json.dumps({**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "1"}})
    for word, name in names.items():
        text = text.replace(name, word)
    for pattern, same in _PASSING:
        text = pattern.sub(same, text)
    found: Manifest = json.loads(text)
    found["spec"] = {}  # the statuses are recorded; a field more in a spec changes nothing for them
    annotations = found["metadata"].get("annotations", {})
    annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)
    kept = ("name", "namespace", "uid", "generation", "creationTimestamp", "deletionTimestamp")
    found["metadata"] = {name: each for name, each in found["metadata"].items() if name in kept}
    return found | {"metadata": found["metadata"] | ({"annotations": annotations} if annotations else {})}
