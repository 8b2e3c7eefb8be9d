"""What `tidemill dev` will run, decided from the manifests: pools with their connections, pipelines with their pool.

Pure: no I/O but for a look whether a folder exists, no clock, no client. All problems are found at once.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tidemill_api.names import GROUP, PipelineId, task_queue
from tidemill_api.v1alpha1 import DataPipeline, WorkerPool
from tidemill_api.v1alpha1.datapipeline import DataPipelineSpec
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_api.v1alpha1.python import PythonSettings
from tidemill_api.v1alpha1.workerpool import (
    Artifacts,
    Concurrency,
    Connection,
    FilesConnection,
    Metastore,
    PostgresConnection,
)
from tidemill_cli.dev.agreement import disagreements
from tidemill_cli.dev.given import called, folder_of, granted, missing, or_s3, secret, secret_name, written, written_to
from tidemill_cli.dev.settings import SettingsFile, Target
from tidemill_cli.dev.web import on_this_machine
from tidemill_cli.manifests import Manifest, Manifests

INSTALLATION: Final = "dev"
METASTORE: Final = "tidemill-metastore"
"""Connection of a default pool for runs and dead letters, where all rows go to databases that run elsewhere."""

CACHE: Final = "tidemill-cache"
"""Secret with the cache's URL."""
ARTIFACTS: Final = "tidemill-artifacts"
"""Connection of every pool on this machine to a folder for what passes between stages."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A postgres connection that is a database of the embedded server; `schemas` are made in it."""

    connection: str
    schemas: tuple[str, ...]

    @property
    def database(self) -> str:
        """Name of the database: the connection's."""
        return self.connection


@dataclass(frozen=True, slots=True)
class External:
    """A postgres connection that runs elsewhere. The connection string is a secret."""

    connection: str
    dsn: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as one worker on this machine; each postgres connection's secret is named after the connection."""

    namespace: str
    name: str
    concurrency: Concurrency
    connections: tuple[Connection, ...]
    metastore: Metastore
    postgres: tuple[Embedded | External, ...]
    python: PythonSettings | None = None
    headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Of web servers: the keys of each connection's Secret."""
    cached_for: str = "1h"
    """How long answers are kept where nothing else is said."""

    @property
    def task_queue(self) -> str:
        """The Temporal task queue that its worker polls."""
        return task_queue(INSTALLATION, self.namespace, self.name)

    @property
    def label(self) -> str:
        """A name for folders and messages."""
        return f"{self.namespace}.{self.name}"

    @property
    def keeps(self) -> Embedded | External:
        """Where its runs and dead letters are."""
        return next(each for each in self.postgres if each.connection == self.metastore.connection)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline to run."""

    manifest: Manifest[DataPipeline]
    pool: Pool
    given: Mapping[str, str]

    @property
    def id(self) -> PipelineId:
        """Who it is, in the installation of this machine."""
        metadata = self.manifest.object.metadata
        return PipelineId(INSTALLATION, metadata.namespace, metadata.name)

    @property
    def spec(self) -> DataPipelineSpec:
        """What it does."""
        return self.manifest.object.spec

    @property
    def uid(self) -> str:
        """A cluster would give one; here it is the same for the same name, so that a kept state goes on."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.id}.{GROUP}"))


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything to run."""

    pools: tuple[Pool, ...]
    pipelines: tuple[Pipeline, ...]

    @property
    def embedded(self) -> tuple[Embedded, ...]:
        """The databases that the embedded server must have, each once, with all its schemas."""
        databases: dict[str, Embedded] = {}
        for each in (one for pool in self.pools for one in pool.postgres if isinstance(one, Embedded)):
            known = databases.get(each.database, replace(each, schemas=()))
            databases[each.database] = replace(known, schemas=tuple(dict.fromkeys((*known.schemas, *each.schemas))))
        return tuple(databases.values())


class LayoutError(Exception):
    """The manifests can't be run here; each problem names file and field, and what would be right."""

    def __init__(self, problems: Iterable[str]) -> None:
        """At least one problem."""
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def lay_out(
    pipelines: Sequence[Manifest[DataPipeline]],
    pools: Sequence[Manifest[WorkerPool]],
    settings: Callable[[Path], SettingsFile],
    given: Mapping[str, str],
    environment: Mapping[str, str],
) -> Layout:
    """Join manifests, the settings beside them (by folder) and parameters. Raises `LayoutError` with all problems.

    `given` goes to each pipeline that declares a parameter of that name.
    """
    problems: list[str] = []
    made: dict[tuple[str, str], Pool] = {}
    for manifest in pools:
        metadata = manifest.object.metadata
        file = manifest.place.file
        drawn = _Draft(file, settings(file.parent), environment, problems)
        key = metadata.namespace, metadata.name
        made[key] = drawn.declared(manifest.object)
        users = [each for each in pipelines if _pool_of(each.object) == key]
        problems.extend(disagreements(metadata.name, drawn.beside, users, settings, declared=True))
    if not pipelines:
        problems.append("there is no DataPipeline in the given files")
    for key, users in _without_pool(pipelines, made).items():
        file = users[0].place.file
        drawn = _Draft(file, settings(file.parent), environment, problems)
        problems.extend(disagreements(key[1], drawn.beside, users, settings, declared=False))
        made[key] = drawn.default(key, users)
    chosen = tuple(Pipeline(each, made[_pool_of(each.object)], _own(each.object, given)) for each in pipelines)
    if problems:
        raise LayoutError(dict.fromkeys(problems))
    used = {id(pipeline.pool) for pipeline in chosen}
    return Layout(tuple(pool for pool in made.values() if id(pool) in used), chosen)


def with_artifacts(manifests: Manifests) -> Manifests:
    """The manifests as they are to be checked for running here, where every pool has a place for artifacts."""

    def pool(manifest: Manifest[WorkerPool]) -> Manifest[WorkerPool]:
        spec = manifest.object.spec.model_copy(update={"artifacts": Artifacts(connection=ARTIFACTS)})
        return replace(manifest, object=manifest.object.model_copy(update={"spec": spec}))

    return replace(manifests, pools=tuple(map(pool, manifests.pools)))


def _pool_of(pipeline: DataPipeline) -> tuple[str, str]:
    return pipeline.metadata.namespace, pipeline.spec.worker_pool_ref.name


def _own(pipeline: DataPipeline, given: Mapping[str, str]) -> Mapping[str, str]:
    declared = {parameter.name for parameter in pipeline.spec.parameters}
    return {name: value for name, value in given.items() if name in declared}


def _without_pool(
    pipelines: Sequence[Manifest[DataPipeline]], made: Mapping[tuple[str, str], Pool]
) -> dict[tuple[str, str], list[Manifest[DataPipeline]]]:
    found: dict[tuple[str, str], list[Manifest[DataPipeline]]] = {}
    for manifest in pipelines:
        if _pool_of(manifest.object) not in made:
            found.setdefault(_pool_of(manifest.object), []).append(manifest)
    return found


@dataclass(frozen=True, slots=True)
class _Draft:
    """Draws one pool; what is wrong goes to `problems`."""

    manifest: Path
    beside: SettingsFile
    environment: Mapping[str, str]
    problems: list[str]

    def declared(self, pool: WorkerPool) -> Pool:
        """A WorkerPool with its connections turned to what they are on this machine."""
        connections, postgres = [], []
        headers: dict[str, Mapping[str, str]] = {}
        for index, connection in enumerate(pool.spec.connections):
            field_name = f"spec.connections[{index}]"
            target = self.beside.settings.connections.get(connection.name)
            if connection.postgres is not None:
                connections.append(self._postgres(connection.name, connection.postgres))
                postgres.append(self._server(connection.name, connection.postgres.schemas, target, field_name))
            elif connection.files is not None:
                made = self._files(connection.name, connection.files.url, target, field_name)
                connections.append(granted(made, connection.files.access))
            elif connection.http is not None:
                connections.append(self._http(connection.name, connection.http, target, field_name, headers))
        metadata = pool.metadata
        return Pool(
            metadata.namespace,
            metadata.name,
            pool.spec.concurrency,
            tuple(connections),
            pool.spec.metastore,
            tuple(postgres),
            pool.spec.python,
            headers,
            pool.spec.cache.default_ttl if pool.spec.cache is not None else "1h",
        )

    def default(self, key: tuple[str, str], users: Sequence[Manifest[DataPipeline]]) -> Pool:
        """A pool for pipelines that name one which isn't among the manifests: just the connections they use.

        Runs and dead letters are kept beside the rows, unless these are in databases that run elsewhere.
        """
        targets = self.beside.settings.connections
        headers: dict[str, Mapping[str, str]] = {}
        files = self._read_from(users, headers)
        files |= self._written_elsewhere(users, files, headers)
        schemas = written_to(users)
        for name in files.keys() & schemas.keys():
            self.problems.append(f"{_shown(self.manifest)}: connection {name} can't be both a source's and a sink's")
        metastore = next((name for name in schemas if name not in targets), METASTORE)
        schemas.setdefault(metastore, ("public",))
        return Pool(
            *key,
            self.beside.settings.pool.concurrency,
            (*files.values(), *(written(name, found) for name, found in schemas.items())),
            Metastore(connection=metastore),
            tuple(
                self._server(name, found, targets.get(name), f"connection {name}") for name, found in schemas.items()
            ),
            PythonSettings(allowed_entrypoints=called(users)),
            headers,
        )

    def _read_from(
        self, users: Sequence[Manifest[DataPipeline]], headers: dict[str, Mapping[str, str]]
    ) -> dict[str, Connection]:
        found: dict[str, Connection] = {}
        for index, source in ((i, s) for user in users for i, s in enumerate(user.object.spec.sources)):
            if not source.connection:
                continue
            name, field_name = source.connection, f"spec.sources[{index}].connection"
            target = self.beside.settings.connections.get(name)
            if source.http is not None or (target is not None and target.http is not None):
                found[name] = self._http(name, None, target, field_name, headers)
            else:
                found[name] = self._files(name, None, target, field_name)
        return found

    def _written_elsewhere(
        self,
        users: Sequence[Manifest[DataPipeline]],
        read: Mapping[str, Connection],
        headers: dict[str, Mapping[str, str]],
    ) -> dict[str, Connection]:
        """The connections of sinks that are files or servers, which may be sources' too."""
        found: dict[str, Connection] = {}
        for index, sink in ((i, s) for user in users for i, s in enumerate(user.object.spec.sinks)):
            if sink.postgres is None and sink.connection not in found:
                name, field_name = sink.connection, f"spec.sinks[{index}].connection"
                target = self.beside.settings.connections.get(name)
                made = read.get(name)
                if made is None and sink.http is not None:
                    made = self._http(name, None, target, field_name, headers)
                found[name] = granted(made or self._files(name, None, target, field_name), "Write")
        return found

    def _http(
        self,
        name: str,
        declared: HTTPConnection | None,
        target: Target | None,
        field_name: str,
        headers: dict[str, Mapping[str, str]],
    ) -> Connection:
        """A web server; `headers` gets the keys of its Secret."""
        made, headers[name] = on_this_machine(
            declared, target, self.environment, secret_name(name), lambda what: self._say(field_name, name, what)
        )
        return Connection(name=name, http=made)

    def _postgres(self, name: str, connection: PostgresConnection) -> Connection:
        return Connection(name=name, postgres=connection.model_copy(update={"dsn": secret(name)}))

    def _server(
        self, name: str, schemas: tuple[str, ...], target: Target | None, field_name: str
    ) -> Embedded | External:
        if target is None:
            return Embedded(name, schemas)
        if target.postgres is None:
            self._say(field_name, name, "is a postgres connection, but its entry there says `files`")
            return Embedded(name, schemas)
        if target.postgres.dsn is not None:
            return External(name, target.postgres.dsn)
        variable = target.postgres.dsn_env or ""
        if not self.environment.get(variable):
            self._say(field_name, name, f"its dsnEnv names the environment variable {variable}, which is not set")
        return External(name, self.environment.get(variable, ""))

    def _files(self, name: str, url: str | None, target: Target | None, field_name: str) -> Connection:
        folder = self.beside.folder
        if target is not None and target.s3 is not None:
            return Connection(name=name, files=target.s3.connection)
        if target is not None and target.files is not None:
            folder = self.beside.folder / Path(target.files).expanduser()
        elif target is not None:
            self._say(field_name, name, "is a files connection, but its entry there says `postgres`")
        elif url is not None and url.startswith("file:") and folder_of(url).is_dir():
            folder = folder_of(url)
        else:
            self._say(
                field_name, name, f"has no entry there{missing(url)}; add `{name}: {{files: FOLDER}}`{or_s3(url)}"
            )
            return Connection(name=name, files=FilesConnection(url=folder.resolve().as_uri()))
        if not folder.is_dir():
            self._say(field_name, name, f"points to {_shown(folder)}, which is no folder")
        return Connection(name=name, files=FilesConnection(url=folder.resolve().as_uri()))

    def _say(self, field_name: str, name: str, what: str) -> None:
        self.problems.append(
            f"{_shown(self.manifest)}: {field_name}: {name}: {what} ({self.beside.shown}, connections.{name})"
        )


def _shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
