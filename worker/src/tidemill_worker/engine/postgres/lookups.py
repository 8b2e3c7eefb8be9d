"""Rows of a table that is joined, in the pool's cache: as the database gave them, for all workers and later runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.cache import LookupCache

if TYPE_CHECKING:
    from tidemill_worker.cache import Computed


@dataclass(frozen=True, slots=True)
class KeptRows:
    """The cache as one source sees it."""

    cache: Computed
    settings: LookupCache
    source: str
    """The source's name."""
    connection: str
    identity: str
    """Which database it is, and by which user it is read: others may see other rows."""
    table: str

    def get(self, query: str, read: Callable[[], bytes]) -> bytes:
        """The query's rows: kept, or read now. Raises what `read` raises."""
        settings = self.settings
        ttl = parse_duration(settings.ttl).total_seconds() if settings.ttl is not None else None
        key = ["rows", self.identity, query]
        tables = dict.fromkeys((f"{self.connection}/{self.table}", *settings.tables))
        tags = [f"connection/{self.connection}", f"source/{self.source}", *(f"table/{each}" for each in tables)]
        return self.cache.computed(key, tags, ttl, lambda _stale: read())
