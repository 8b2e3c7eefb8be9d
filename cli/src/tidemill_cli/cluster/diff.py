"""`tidemill diff`: manifests against what is in the cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from tidemill_api.v1alpha1 import KINDS, Model, Resource
from tidemill_cli.cluster.differences import Change, changes, whole
from tidemill_cli.cluster.effects import effects
from tidemill_cli.cluster.kubectl import MANAGER, ClusterError, Kubectl, Object
from tidemill_cli.lint.meaning import check_manifests
from tidemill_cli.manifests import Manifest, Manifests, load_manifests

SAME: Final = 0
DIFFERS: Final = 1
FAILED: Final = 2
_METADATA: Final = ("labels", "annotations")
_SPECS: Final[Mapping[str, type[Model]]] = {kind.__name__: kind.model_fields["spec"].annotation for kind in KINDS}  # type: ignore[misc]  # each is a model


@dataclass(frozen=True, slots=True)
class Comparison:
    """One object: how it stands against the cluster."""

    manifest: Manifest[Resource]
    namespace: str
    is_there: bool
    changes: tuple[Change, ...] = ()
    effects: tuple[str, ...] = ()
    refused: str = ""
    """Why the API server wouldn't take it."""

    @property
    def state(self) -> Literal["new", "changed", "same"]:
        """Whether it would be made, changed, or neither."""
        return "new" if not self.is_there else "changed" if self.changes else "same"

    @property
    def name(self) -> str:
        """`DataPipeline travel/flights`."""
        return f"{self.manifest.object.kind_name()} {self.namespace}/{self.manifest.object.metadata.name}"

    def lines(self) -> Iterator[str]:
        """For people."""
        place = self.manifest.place
        words = {"new": "would be made", "changed": "would change", "same": "is as in the manifest"}
        yield f"{self.name} {words[self.state]} ({place.file}:{place.line})"
        yield from (f"  {change}" for change in self.changes)
        yield from (f"  then {effect}" for effect in self.effects)
        if self.refused:
            yield f"  the API server refuses it: {self.refused}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "kind": self.manifest.object.kind_name(),
            "namespace": self.namespace,
            "name": self.manifest.object.metadata.name,
            "file": str(self.manifest.place.file),
            "line": self.manifest.place.line,
            "state": self.state,
            "changes": [change.to_json() for change in self.changes],
            "effects": list(self.effects),
            "refused": self.refused or None,
        }


def diff(cluster: Kubectl, paths: Sequence[Path], output: Literal["text", "json"]) -> int:
    """Say what would change and what that would do. Gives the exit code: 0 nothing, 1 something, 2 failed."""
    try:
        manifests = load_manifests(paths)
        problems = [str(one) for one in check_manifests(manifests) if one.severity == "error"]
        if problems:
            print("\n".join(problems), file=sys.stderr)
            return FAILED
        found = [_compare(cluster, manifest) for manifest in _objects(manifests)]
    except (FileNotFoundError, ClusterError) as error:
        print(f"tidemill diff: {error}", file=sys.stderr)
        return FAILED
    if not found:
        print("tidemill diff: there is nothing of Tidemill's kinds in the given files", file=sys.stderr)
        return FAILED
    for each in found:
        if output == "json":
            print(json.dumps(each.to_json(), ensure_ascii=False))
        else:
            print("\n".join(each.lines()))
    if any(each.refused for each in found):
        return FAILED
    return DIFFERS if any(each.state != "same" for each in found) else SAME


def _objects(manifests: Manifests) -> list[Manifest[Resource]]:
    """In the order of files and lines."""
    everything: list[Any] = [*manifests.connections, *manifests.pools, *manifests.pipelines, *manifests.runs]
    order = {file: place for place, file in enumerate(manifests.files)}
    return sorted(everything, key=lambda one: (order[one.place.file], one.place.line))


def _compare(cluster: Kubectl, manifest: Manifest[Resource]) -> Comparison:
    raw = _raw(manifest)
    kind, metadata = manifest.object.kind_name(), raw["metadata"]
    there = replace(cluster, flags=(*cluster.flags, *_flag(metadata)), _program=[])
    live = there.find(kind, metadata["name"])
    spec = whole(_SPECS[kind], raw.get("spec") or {})
    if live is None:
        namespace = metadata.get("namespace") or _namespace(there)
        return Comparison(
            manifest, namespace, False, (), effects(kind, metadata["name"], None, spec), _refusal(there, raw)
        )
    before = whole(_SPECS[kind], live["spec"])
    found = (*_labels(live, metadata), *changes(before, spec, ("spec",)))
    return Comparison(
        manifest,
        live["metadata"]["namespace"],
        True,
        found,
        effects(kind, metadata["name"], before, spec) if before != spec else (),
        _refusal(there, raw) if found else "",
    )


def _raw(manifest: Manifest[Resource]) -> Object:
    """The object as its file has it."""
    value: Any = manifest.place.document.value
    for part in manifest.place.path:
        value = value[part]
    found: Object = value
    return found


def _flag(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    return (f"--namespace={metadata['namespace']}",) if metadata.get("namespace") else ()


def _namespace(cluster: Kubectl) -> str:
    """The one that kubectl would use."""
    given = [flag.partition("=")[2] for flag in cluster.flags if flag.startswith("--namespace=")]
    if given:
        return given[-1]
    context = [flag for flag in cluster.flags if flag.startswith(("--context", "--kubeconfig"))]
    path = "{.contexts[0].context.namespace}"
    asked = replace(cluster, flags=tuple(context), _program=[])
    return asked.text("config", "view", "--minify", f"--output=jsonpath={path}").strip() or "default"


def _labels(live: Object, metadata: Mapping[str, Any]) -> Iterator[Change]:
    """Labels and annotations that the manifest has otherwise; those that others set are theirs."""
    for field in _METADATA:
        wished = {str(name): str(value) for name, value in (metadata.get(field) or {}).items()}
        has = live["metadata"].get(field) or {}
        there = {name: has[name] for name in wished if name in has}
        yield from changes(there, wished, ("metadata", field))


def _refusal(cluster: Kubectl, raw: Object) -> str:
    """What the API server says against it, by a dry run; nothing if this person may not ask."""
    arguments = ("apply", "--server-side", "--dry-run=server", "--force-conflicts", f"--field-manager={MANAGER}")
    try:
        cluster.text(*arguments, "--filename=-", "--output=name", stdin=json.dumps(raw))
    except ClusterError as error:
        if error.reason == "Forbidden" and "ValidatingAdmissionPolicy" not in str(error):
            return ""
        return str(error)
    return ""
