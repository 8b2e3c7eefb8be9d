"""Where the files of a `files` connection are, by its URL. What isn't used isn't imported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill_api.v1alpha1.workerpool import Artifacts, FilesConnection
from tidemill_worker.connections.folders import folder_of
from tidemill_worker.connections.kept_folder import FolderArtifacts
from tidemill_worker.files import Files
from tidemill_worker.files.writable import Writable

if TYPE_CHECKING:
    from tidemill_worker.connections.s3.artifacts import ObjectArtifacts
    from tidemill_worker.connections.s3.client import Client


def place_of(settings: FilesConnection, name: str, secrets: Path) -> Files:
    """The place that the connection `name` means; `secrets` is where Secrets are mounted. Raises ConfigError."""
    if settings.url.startswith("s3://"):
        from tidemill_worker.connections.s3.objects import Objects

        return Objects(client_of(settings, name, secrets))
    from tidemill_worker.files.folder import Folder

    return Folder(folder_of(settings.url, name))


def artifacts_of(settings: FilesConnection, artifacts: Artifacts, secrets: Path) -> FolderArtifacts | ObjectArtifacts:
    """The place for what passes between stages. Raises ConfigError."""
    if settings.url.startswith("s3://"):
        from tidemill_worker.connections.s3.artifacts import ObjectArtifacts

        below = settings.url.rstrip("/") + "/" + artifacts.path.strip("/")
        return ObjectArtifacts(client_of(settings.model_copy(update={"url": below}), artifacts.connection, secrets))
    return FolderArtifacts(folder_of(settings.url, artifacts.connection) / artifacts.path)


def writable_of(settings: FilesConnection, name: str, secrets: Path) -> Writable:
    """The place that the connection `name` means, for sinks. Raises ConfigError."""
    if settings.url.startswith("s3://"):
        from tidemill_worker.connections.s3.written import WrittenObjects

        return WrittenObjects(client_of(settings, name, secrets))
    from tidemill_worker.connections.written_folder import WrittenFolder

    return WrittenFolder(folder_of(settings.url, name), name)


def client_of(settings: FilesConnection, name: str, secrets: Path) -> Client:
    """Requests to the bucket of a connection whose URL is one of s3."""
    from tidemill_worker.connections.s3.client import Bucket, Client
    from tidemill_worker.connections.s3.credentials import Chain, mounted

    name_of_bucket, _, below = settings.url.removeprefix("s3://").partition("/")
    prefix = below.strip("/")
    region = settings.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    bucket = Bucket(name, name_of_bucket, f"{prefix}/" if prefix else "", region, settings.endpoint)
    secret = settings.secret_ref
    keys = mounted(secrets, secret.name) if secret else Chain(name, region, os.environ, Path.home())
    return Client(bucket, keys)
