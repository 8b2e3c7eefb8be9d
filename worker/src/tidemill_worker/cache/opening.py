"""The cache of a pool as its configuration says. Nothing is connected, or imported of Redis, before it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill_api.contract import WorkerConfig
from tidemill_api.v1alpha1 import parse_duration
from tidemill_worker.cache.cache import Cache, Told
from tidemill_worker.cache.entry import Seal
from tidemill_worker.cache.redis_store import RedisStore
from tidemill_worker.connections.secrets import read_secret

if TYPE_CHECKING:
    from tidemill_codec.folder import Keys


Waited = Callable[[float], None]
"""Told of the seconds that a lookup has waited for another one who computes the same."""


def cache_of(config: WorkerConfig, secrets: Path, told: Told, waited: Waited, keys: Keys | None) -> Cache | None:
    """The cache, or None if the pool has none. `keys` encrypt payloads, and entries alike."""
    settings = config.cache
    if settings is None:
        return None
    ref = settings.redis.url.secret_key_ref
    seal: Seal = (lambda: None) if keys is None else keys.ring
    return Cache(
        RedisStore(
            lambda: read_secret(secrets, ref.name, ref.key), prefix(config.installation, config.namespace, config.pool)
        ),
        told,
        seal,
        parse_duration(settings.default_ttl).total_seconds(),
        waited=waited,
    )


def prefix(installation: str, namespace: str, pool: str) -> str:
    """What the names of all keys of a pool begin with."""
    return f"tidemill:{installation}:{namespace}:{pool}"


def table_tags(tables: Iterable[tuple[str, str]]) -> list[str]:
    """The tags of tables: of each its connection and its name with the schema."""
    return [f"table/{connection}/{table}" for connection, table in tables]
