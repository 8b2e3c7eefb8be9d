"""Tidemill's objects from YAML files, with the file and line of each: what `tidemill lint` and `tidemill dev` read."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from tidemill_api.v1alpha1 import (
    GROUP,
    KINDS,
    VERSION,
    DataPipeline,
    DataPipelineRun,
    Resource,
    TemporalConnection,
    WorkerPool,
)
from tidemill_check.problem import suggestion
from tidemill_check.queries import query_refs, with_queries
from tidemill_cli.lint import yaml_text
from tidemill_cli.lint.finding import Finding, Severity
from tidemill_cli.lint.shape import field_path, field_text, fit

AnyKind = TypeVar("AnyKind", bound=Resource)

_MODELS: Final[dict[str, type[Resource]]] = {model.__name__: model for model in KINDS}
_API_VERSION: Final = f"{GROUP}/{VERSION}"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_ENDINGS: Final = {".yaml", ".yml", ".json"}
STDIN: Final = Path("-")
"""A path that stands for standard input, as for kubectl."""
STDIN_SHOWN: Final = Path("<stdin>")
"""How findings call it."""
SETTINGS_NAME: Final = "tidemill.dev.yaml"
"""The file that says where connections point on a laptop."""
TEST_ENDING: Final = ".test.yaml"
"""Files of `tidemill test`: no manifests, though they lie beside them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object stands: its file, its document, and its path in there (for the items of a List)."""

    file: Path
    document: yaml_text.Document
    path: yaml_text.Path = ()

    @property
    def line(self) -> int:
        """The line of the object's beginning, from 1."""
        return self.document.at(self.path).line

    def finding(
        self,
        field: str | yaml_text.Path,
        message: str,
        severity: Severity = "error",
        reason: str = "",
        at_key: bool = False,
    ) -> Finding:
        """A finding about a field of the object."""
        path = field_path(field) if isinstance(field, str) else field
        position = self.document.at((*self.path, *path), key=at_key)
        text = field if isinstance(field, str) else field_text(field)
        return Finding(self.file, position.line, position.column, text, message, severity, reason)


@dataclass(frozen=True, slots=True)
class Manifest(Generic[AnyKind]):
    """One object and where it stands."""

    object: AnyKind
    place: Place


@dataclass(frozen=True, slots=True)
class Manifests:
    """All of Tidemill's objects below some paths, in the order of files and lines.

    `findings` are those of text and schema; an object that has errors of these is missing in the lists,
    but for unknown fields, which are left out of it.
    """

    files: tuple[Path, ...] = ()
    pipelines: tuple[Manifest[DataPipeline], ...] = ()
    pools: tuple[Manifest[WorkerPool], ...] = ()
    runs: tuple[Manifest[DataPipelineRun], ...] = ()
    connections: tuple[Manifest[TemporalConnection], ...] = ()
    findings: tuple[Finding, ...] = ()
    broken: frozenset[tuple[str, str, str]] = frozenset()
    """Kind, namespace and name of the objects that are there but don't fit their schema."""
    config_maps: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """The data of the ConfigMaps that are there too, by namespace and name: queries may stand in them."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that are errors."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def load_manifests(paths: Sequence[Path]) -> Manifests:
    """Everything of Tidemill's kinds in files and, recursively, in folders (.yaml, .yml, .json; no hidden ones).

    `-` is standard input. Other kinds are ignored. Raises FileNotFoundError for a path that isn't there; other faults
    are findings.
    """
    reader = _Reader()
    files = tuple(_files(paths))
    given = {path.resolve() for path in paths if path.is_file()}
    for file in files:
        if file == STDIN_SHOWN:
            reader.text(file, sys.stdin.buffer.read(), asked_for=True)
        else:
            reader.read(file, asked_for=file.resolve() in given)
    return reader.result(files)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in paths:
        if path == STDIN:
            if STDIN not in seen:
                seen.add(STDIN)
                yield STDIN_SHOWN
            continue
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such file or folder")
        inside = (
            one
            for one in sorted(path.rglob("*"))
            if one.suffix in _ENDINGS
            and not one.name.endswith(TEST_ENDING)
            and one.is_file()
            and not _hidden(one.relative_to(path))
        )
        for file in inside if path.is_dir() else (path,):
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


class _Reader:
    """Collects objects and findings, file by file."""

    def __init__(self) -> None:
        self._objects: list[Manifest[Resource]] = []
        self._findings: list[Finding] = []
        self._broken: set[tuple[str, str, str]] = set()
        self._first: dict[tuple[str, str, str], Place] = {}
        self._config_maps: dict[tuple[str, str], dict[str, Any]] = {}
        self._waiting: list[tuple[Place, dict[str, Any]]] = []

    def result(self, files: tuple[Path, ...]) -> Manifests:
        for place, raw in self._waiting:  # a ConfigMap with a query may stand behind its pipeline
            self._object(place, raw)

        def of(model: type[AnyKind]) -> tuple[Manifest[AnyKind], ...]:
            return tuple(Manifest(one.object, one.place) for one in self._objects if isinstance(one.object, model))

        return Manifests(
            files,
            of(DataPipeline),
            of(WorkerPool),
            of(DataPipelineRun),
            of(TemporalConnection),
            tuple(self._findings),
            frozenset(self._broken),
            self._config_maps,
        )

    def read(self, file: Path, asked_for: bool) -> None:
        try:
            data = file.read_bytes()
        except OSError as error:
            self._findings.append(Finding(file, 1, 1, "", f"can't be read: {error.strerror}"))
            return
        self.text(file, data, asked_for)

    def text(self, file: Path, data: bytes, asked_for: bool) -> None:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self._findings.append(Finding(file, 1, 1, "", f"this is no UTF-8 text (byte {error.start})"))
            return
        ours = asked_for or GROUP in text
        documents = list(yaml_text.read_documents(text))
        nothing_piped = file == STDIN_SHOWN and not text.strip()
        must_hold = asked_for and not nothing_piped and not _lies_beside(file)
        said = len(self._findings)
        for document in documents:
            self._document(file, document, ours, must_hold)
        if must_hold and len(self._findings) == said and not any(_holds_manifest(each) for each in documents):
            filled = (each.position for each in documents if each.value is not None)
            place = next(filled, yaml_text.Position(1, 1))
            message = "this is no manifest: a Kubernetes object has the fields apiVersion and kind"
            self._findings.append(Finding(file, place.line, place.column, "", message))

    def _document(self, file: Path, document: yaml_text.Document, ours: bool, must_hold: bool) -> None:
        objects = list(_objects(Place(file, document)))
        unread = (document.value is None and ours) or (must_hold and not _holds_manifest(document))
        about_us = unread or any(_is_ours(raw) for _, raw in objects)
        for remark in document.remarks if about_us else ():
            field = field_text(remark.path)
            severity: Severity = "error" if remark.error else "warning"
            self._findings.append(
                Finding(file, remark.position.line, remark.position.column, field, remark.message, severity)
            )
        for place, raw in objects:
            if _is_ours(raw):
                self._waiting.append((place, raw))
            elif raw.get("kind") == "ConfigMap" and raw.get("apiVersion") == "v1":
                self._config_map(raw)

    def _config_map(self, raw: dict[str, Any]) -> None:
        metadata, data = raw.get("metadata"), raw.get("data")
        if isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
            place = str(metadata.get("namespace") or "default"), metadata["name"]
            self._config_maps[place] = data if isinstance(data, dict) else {}

    def _with_queries(self, raw: dict[str, Any]) -> dict[str, Any]:
        """A pipeline with the queries that stand in ConfigMaps among the files."""
        spec, metadata = raw.get("spec"), raw.get("metadata")
        if raw.get("kind") != "DataPipeline" or not isinstance(spec, dict) or not isinstance(metadata, dict):
            return raw
        namespace = str(metadata.get("namespace") or "default")
        texts = {
            (name, key): self._config_maps[namespace, name][key]
            for name, key in query_refs(spec)
            if isinstance(self._config_maps.get((namespace, name), {}).get(key), str)
        }
        return {**raw, "spec": with_queries(spec, texts)}

    def _object(self, place: Place, raw: dict[str, Any]) -> None:
        kind = str(raw.get("kind"))
        if kind not in _MODELS:
            self._findings.append(
                place.finding("kind", f"there is no kind {kind} in {GROUP}{suggestion(kind, _MODELS)}")
            )
            return
        if raw.get("apiVersion") != _API_VERSION:
            self._findings.append(
                place.finding(
                    "apiVersion",
                    f"{raw['apiVersion']} is not known: write {_API_VERSION}"
                    if "apiVersion" in raw
                    else f"is missing: write {_API_VERSION}",
                )
            )
            raw = {**raw, "apiVersion": _API_VERSION}
        raw = self._with_queries(raw)
        found, misfits = fit(_MODELS[kind], raw)
        self._findings.extend(place.finding(one.path, one.message, at_key=one.at_key) for one in misfits)
        metadata = raw.get("metadata")
        self._findings.extend(_names(place, metadata if isinstance(metadata, dict) else {}))
        if found is not None:
            self._objects.append(Manifest(found, place))
            key = (kind, found.metadata.namespace, found.metadata.name)
        elif isinstance(metadata, dict) and "name" in metadata:
            key = (kind, str(metadata.get("namespace", "default")), str(metadata["name"]))
            self._broken.add(key)
        else:
            return
        first = self._first.setdefault(key, place)
        if first is not place:
            where = f"{first.file}:{first.line}"
            message = f"{kind} {key[1]}/{key[2]} stands already in {where}: one of them would overwrite the other"
            self._findings.append(place.finding("metadata.name", message))


def _objects(place: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The objects of a document: itself, or the items of a List."""
    value = place.document.value
    if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
        for index, item in enumerate(value["items"]):
            if isinstance(item, dict):
                yield Place(place.file, place.document, ("items", index)), item
    elif isinstance(value, dict):
        yield place, value


def _holds_manifest(document: yaml_text.Document) -> bool:
    """Whether it is an object, or a List of some, of whatever kind."""
    return isinstance(document.value, dict) and document.value.get("kind") is not None


def _lies_beside(file: Path) -> bool:
    """Files of ours that lie beside manifests, and so may be given with them: `tidemill lint *.yaml`."""
    return file.name == SETTINGS_NAME or file.name.endswith(TEST_ENDING)


def _names(place: Place, metadata: dict[str, Any]) -> Iterator[Finding]:
    """Names that Kubernetes refuses."""
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if isinstance(name, str) and (len(name) > 253 or not _NAME.fullmatch(name)):
        message = f"{name!r} can't name an object: use lower-case letters, digits, '-' and '.', such as flights"
        yield place.finding("metadata.name", message)
    if isinstance(namespace, str) and (len(namespace) > 63 or "." in namespace or not _NAME.fullmatch(namespace)):
        message = f"{namespace!r} can't name a namespace: use lower-case letters, digits and '-', such as travel"
        yield place.finding("metadata.namespace", message)


def _is_ours(raw: dict[str, Any]) -> bool:
    group = str(raw.get("apiVersion", "")).partition("/")[0]
    return group == GROUP or (raw.get("kind") in _MODELS and "apiVersion" not in raw)
