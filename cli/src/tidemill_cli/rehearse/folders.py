"""Where the files of a pipeline's sources are on this machine."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tidemill_api.v1alpha1 import DataPipeline, WorkerPool
from tidemill_api.v1alpha1.datapipeline import CSV, JSON, DataPipelineSpec, FileSource, Format, Source
from tidemill_check.problem import suggestion
from tidemill_cli.dev.reading import UsageError
from tidemill_cli.dev.settings import S3Target, SettingsFile
from tidemill_cli.lint.finding import Finding
from tidemill_cli.manifests import Manifest

if TYPE_CHECKING:
    from tidemill_worker.files import Files


@dataclass(frozen=True, slots=True)
class Located:
    """A pipeline's spec with each source's files where they are here, and the folder (or bucket) of each source."""

    spec: DataPipelineSpec
    folders: Mapping[str, Path | Files]


def pairs(option: str, texts: Iterable[str]) -> dict[str, Path]:
    """`NAME=PATH` texts by name. Raises UsageError."""
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise UsageError(f"{option} {text}: write it as NAME={'FILE' if option == '--source' else 'DIR'}")
        found[name] = Path(path).expanduser()
    return found


def at_file(source: Source, file: Path) -> Source:
    """The source as it reads this one file of another folder, which stands for a table or an API as `stand_in` says."""
    path = glob.escape(file.name).replace("{", "{{").replace("}", "}}")  # neither a pattern nor a value of the run
    files = source.files or FileSource(path="*", format=stand_in(source))
    files = files.model_copy(update={"path": path, "compression": "Auto"})
    return source.model_copy(update={"files": files, "postgres": None, "http": None, "python": None})


def stand_in(source: Source) -> Format:
    """The format of a file with a source's rows: its own; of an API or function one JSON array, of a table CSV."""
    if source.files is not None:
        return source.files.format
    return Format(json_=JSON()) if source.http is not None or source.python is not None else Format(csv=CSV())


def locate(
    pipeline: Manifest[DataPipeline],
    pools: Sequence[Manifest[WorkerPool]],
    settings: Callable[[Path], SettingsFile],
    given: Mapping[str, Path],
    files: Mapping[str, Path],
) -> Located | tuple[Finding, ...]:
    """The folder of each source: of a file given for it, of its connection as given, or as the manifests say.

    `given` has folders by connection, `files` a file by source. What a `tidemill.dev.yaml` beside the pool's manifest
    (or the pipeline's, where the pool isn't here) says goes before the pool's own URL. Findings if there is none.
    """
    spec, metadata = pipeline.object.spec, pipeline.object.metadata
    key = (metadata.namespace, spec.worker_pool_ref.name)
    pool = next((one for one in pools if (one.object.metadata.namespace, one.object.metadata.name) == key), None)
    beside = settings((pool or pipeline).place.file.parent)
    folders: dict[str, Path | Files] = {}
    problems: list[Finding] = []
    sources = []
    for place, source in enumerate(spec.sources):
        sources.append(at_file(source, files[source.name]) if source.name in files else source)
        if source.name in files:
            folders[source.name] = files[source.name].resolve().parent
            continue
        if source.python is not None:  # its function is called
            continue
        if source.http is not None:
            message = (
                f"{source.connection}: an API isn't asked here; say --source {source.name}=FILE, with its rows as one "
                "JSON array"
            )
            problems.append(pipeline.place.finding(f"spec.sources[{place}].connection", message))
            continue
        target = beside.settings.connections.get(source.connection)
        if source.connection not in given and target is not None and target.s3 is not None:
            folders[source.name] = _bucket(source.connection, target.s3)
            continue
        folder = given.get(source.connection) or _configured(source.connection, pool, beside)
        if folder is not None and folder.is_dir():
            folders[source.name] = folder.resolve()
            continue
        where = f"{folder} is no folder here" if folder is not None else "nothing here says which folder it is"
        message = (
            f"{source.connection}: {where}; say --folder {source.connection}=DIR or --source {source.name}=FILE, "
            f"or write `{source.connection}: {{files: DIR}}` below connections in {beside.file}"
        )
        problems.append(pipeline.place.finding(f"spec.sources[{place}].connection", message))
    if problems:
        return tuple(problems)
    return Located(spec.model_copy(update={"sources": tuple(sources)}), folders)


def check_names(
    pipelines: Sequence[Manifest[DataPipeline]], given: Mapping[str, Path], files: Mapping[str, Path]
) -> None:
    """Raises UsageError for connections and sources that no pipeline has, and for missing files and folders."""
    specs = [one.object.spec for one in pipelines]
    connections = {source.connection for spec in specs for source in spec.sources if source.connection}
    sources = {source.name for spec in specs for source in spec.sources}
    for name, folder in given.items():
        if name not in connections:
            raise UsageError(
                f"--folder {name}: no source reads from a connection {name}{suggestion(name, connections)}"
            )
        if not folder.is_dir():
            raise UsageError(f"--folder {name}={folder}: there is no such folder")
    for name, file in files.items():
        if name not in sources:
            raise UsageError(f"--source {name}: there is no source {name}{suggestion(name, sources)}")
        if not file.is_file():
            raise UsageError(f"--source {name}={file}: there is no such file")


def _bucket(connection: str, target: S3Target) -> Files:
    from tidemill_worker.connections.file_places import place_of

    return place_of(target.connection, connection, Path())


def _configured(connection: str, pool: Manifest[WorkerPool] | None, beside: SettingsFile) -> Path | None:
    target = beside.settings.connections.get(connection)
    if target is not None and target.files is not None:
        return beside.folder / Path(target.files).expanduser()
    for one in pool.object.spec.connections if pool is not None else ():
        if one.name == connection and one.files is not None:
            url = urlsplit(one.files.url)
            return Path(unquote(url.path)) if url.scheme == "file" else None
    return None
