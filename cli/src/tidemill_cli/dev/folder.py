"""The folder in which `tidemill dev` keeps its state: a lock against a second one, and the workers' files.

temporal/ postgres/ redis/           the components' own
workers/<namespace>.<pool>/          worker.json, worker.log
    secrets/<secret>/<key>           as a cluster mounts them; readable by their owner only
    artifacts/                       what passes between stages
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidemill_api.contract import TemporalAddress, WorkerConfig
from tidemill_api.names import CONFIG_FILE
from tidemill_api.v1alpha1._types import SecretKeyRef, SecretValue
from tidemill_api.v1alpha1.cache import Cache, RedisCache
from tidemill_api.v1alpha1.workerpool import Artifacts, Connection, FilesConnection
from tidemill_cli.dev.given import DSN_KEY, secret_name
from tidemill_cli.dev.layout import ARTIFACTS, CACHE, INSTALLATION, Pool

LOCK: Final = "dev.lock"


class FolderInUseError(Exception):
    """Another `tidemill dev` has this folder."""


@dataclass(frozen=True, slots=True)
class WorkerFiles:
    """What a worker is started with."""

    directory: Path
    config: Path
    secrets: Path


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The folder, ours alone until it is released."""

    path: Path
    kept: bool
    """False: it goes away at the end."""

    def worker(self, pool: Pool, temporal: str, dsns: dict[str, str], redis: str = "") -> WorkerFiles:
        """Write a worker's configuration and its secrets: `dsns` are connection strings by connection.

        `redis` is the URL of the cache; without one there is none.
        """
        directory = self.path / "workers" / pool.label
        secrets = directory / "secrets"
        shutil.rmtree(secrets, ignore_errors=True)
        for connection, dsn in dsns.items():
            _write_secret(secrets / secret_name(connection) / DSN_KEY, dsn)
        for connection, headers in pool.headers.items():
            for name, value in headers.items():
                _write_secret(secrets / secret_name(connection) / name, value)
        if redis:
            _write_secret(secrets / CACHE / "url", redis)
        kept = directory / "artifacts"
        config = WorkerConfig(
            installation=INSTALLATION,
            namespace=pool.namespace,
            pool=pool.name,
            task_queue=pool.task_queue,
            temporal=TemporalAddress(address=temporal),
            concurrency=pool.concurrency,
            connections=(*pool.connections, Connection(name=ARTIFACTS, files=FilesConnection(url=kept.as_uri() + "/"))),
            metastore=pool.metastore,
            artifacts=Artifacts(connection=ARTIFACTS),
            cache=_cache(pool) if redis else None,
            python=pool.python,
        )
        directory.mkdir(parents=True, exist_ok=True)
        kept.mkdir(exist_ok=True)
        file = directory / CONFIG_FILE
        file.write_text(config.model_dump_json(by_alias=True, exclude_none=True, indent=2) + "\n", encoding="utf-8")
        return WorkerFiles(directory, file, secrets)


def _cache(pool: Pool) -> Cache:
    url = SecretValue(secret_key_ref=SecretKeyRef(name=CACHE, key="url"))
    return Cache(redis=RedisCache(url=url), default_ttl=pool.cached_for)


@contextlib.contextmanager
def state_folder(wished: Path | None) -> Iterator[StateFolder]:
    """The folder `wished`, made if need be and kept; or a temporary one that is removed at the end.

    Raises `FolderInUseError` if another `tidemill dev` has it, OSError if it can't be made or written.
    """
    if wished is None:
        with tempfile.TemporaryDirectory(prefix="tidemill-dev-", ignore_cleanup_errors=True) as temporary:
            yield StateFolder(Path(temporary).resolve(), kept=False)
        return
    wished.mkdir(parents=True, exist_ok=True)
    with (wished / LOCK).open("a+", encoding="utf-8") as lock:
        _take(lock.fileno(), wished)
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield StateFolder(wished.resolve(), kept=True)


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = (folder / LOCK).read_text(encoding="utf-8").strip()
        raise FolderInUseError(
            f"{folder} is in use by another `tidemill dev`{f' (process {holder})' if holder else ''}: "
            "end that one, or give another --data-dir"
        ) from None


def _write_secret(file: Path, value: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(value, encoding="utf-8")
