"""`tidemill.dev.yaml`: where connections point on a laptop. It holds for the manifests of its folder.

    connections:
      landing: {files: ./data}                        # a folder, relative to this file
      archive: {s3: {url: "s3://archive/", endpoint: "http://127.0.0.1:9000"}}   # a bucket, with your own keys
      warehouse: {postgres: {dsnEnv: WAREHOUSE_DSN}}  # a connection string, from an environment variable ...
      reporting: {postgres: {dsn: "postgresql://..."}}  # ... or as it is
    pool:                                             # only for pipelines whose WorkerPool isn't among the manifests
      concurrency: {activities: 4}

A postgres connection that isn't here is the embedded PostgreSQL, in a database of the connection's name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from tidemill_api.v1alpha1 import Model, Rule
from tidemill_api.v1alpha1.http_connection import WebURL
from tidemill_api.v1alpha1.workerpool import S3_URL, Concurrency, Endpoint, FilesConnection, Region
from tidemill_cli.lint.shape import field_text, fit
from tidemill_cli.lint.yaml_text import Position, read_documents
from tidemill_cli.manifests import SETTINGS_NAME

FILE_NAME: Final = SETTINGS_NAME


class PostgresTarget(Model):
    """A Postgres that runs elsewhere."""

    dsn: str | None = None
    """Connection string, such as `postgresql://user@localhost/warehouse`."""
    dsn_env: str | None = None
    """Environment variable that holds the connection string."""

    rules = (
        Rule(
            cel="has(self.dsn) != has(self.dsnEnv)",
            message="exactly one of: dsn, dsnEnv",
            holds=lambda s: (s.dsn is None) != (s.dsn_env is None),
        ),
    )


class S3Target(Model):
    """A bucket of an S3-compatible store.

    The keys are those that AWS' own programs would find: of the environment, or of the profile in
    `~/.aws/credentials`.
    """

    url: Annotated[str, Field(pattern=S3_URL, max_length=1024)]
    """Bucket and prefix, `s3://landing/daily/`."""
    region: Region | None = None
    """Region of the bucket; `AWS_REGION` if not given, else `us-east-1`."""
    endpoint: Endpoint | None = None
    """Where the store is; Amazon's endpoint of the region if not given."""

    @property
    def connection(self) -> FilesConnection:
        """As a pool would have it."""
        return FilesConnection(url=self.url, region=self.region, endpoint=self.endpoint)


class HTTPTarget(Model):
    """A web server."""

    url: WebURL | None = None
    """Its URL; the pool's if not given."""
    headers_env: dict[str, str] = Field(default_factory=dict)
    """Headers of each request, by name: the environment variable that holds each."""


class Target(Model):
    """Where one connection points."""

    files: str | None = None
    """Folder, relative to the file that says so; its sources' paths start there."""
    s3: S3Target | None = None
    """A bucket of an S3-compatible store."""
    postgres: PostgresTarget | None = None
    """A Postgres that runs elsewhere."""
    http: HTTPTarget | None = None
    """A web server."""

    rules = (
        Rule(
            cel="[has(self.files), has(self.s3), has(self.postgres), has(self.http)].filter(x, x).size() == 1",
            message="exactly one of: files, s3, postgres, http",
            holds=lambda s: [s.files, s.s3, s.postgres, s.http].count(None) == 3,
        ),
    )


class DefaultPool(Model):
    """The pool of pipelines whose own isn't among the manifests."""

    concurrency: Concurrency = Concurrency()
    """How much its worker does at once."""


class DevSettings(Model):
    """The content of a `tidemill.dev.yaml`."""

    connections: dict[str, Target] = Field(default_factory=dict)
    """Where connections point, by their names."""
    pool: DefaultPool = DefaultPool()
    """The pool of pipelines whose own isn't among the manifests."""


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The settings of a folder; `file` is where they are or would be."""

    file: Path
    settings: DevSettings = field(default_factory=DevSettings)

    @property
    def folder(self) -> Path:
        """The folder whose manifests they hold for, and where relative paths start."""
        return self.file.parent

    @property
    def shown(self) -> str:
        """The file for messages: from the working folder if it is below that."""
        relative = os.path.relpath(self.file)
        return str(self.file) if relative.startswith("..") else relative


class SettingsError(Exception):
    """A `tidemill.dev.yaml` is wrong; each problem is a line `file:line:column: field: message`."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        """At least one problem."""
        super().__init__("\n".join(problems))
        self.problems = problems


def load(folder: Path) -> SettingsFile:
    """The settings of a folder; empty ones if it has none. Raises `SettingsError` with all that is wrong."""
    file = folder / FILE_NAME
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return SettingsFile(file)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError((f"{file}: can't be read: {error}",)) from None
    documents = [document for document in read_documents(text) if document.value is not None or document.remarks]
    problems = [_said(file, remark.position, "", remark.message) for each in documents for remark in each.remarks]
    if len(documents) > 1:
        problems.append(_said(file, documents[1].position, "", "a second document: there is one of settings only"))
    if not documents or problems:
        return _or_raise(SettingsFile(file), problems)
    value = documents[0].value
    if not isinstance(value, dict):
        raise SettingsError((_said(file, documents[0].position, "", "must be a mapping: `connections: {...}`"),))
    settings, misfits = fit(DevSettings, value)
    places = [(documents[0].at(one.path, key=one.at_key), field_text(one.path), one.message) for one in misfits]
    problems = [_said(file, *place) for place in places]
    return _or_raise(SettingsFile(file, settings or DevSettings()), problems)


def _or_raise(found: SettingsFile, problems: list[str]) -> SettingsFile:
    if problems:
        raise SettingsError(tuple(problems))
    return found


def _said(file: Path, position: Position, field: str, message: str) -> str:
    return f"{file}:{position.line}:{position.column}: {f'{field}: ' if field else ''}{message}"
