"""Answers that are kept in Redis, for all workers of a pool. Redis being away costs speed, never a run."""

from tidemill_worker.cache.cache import Cache, Computed, Store
from tidemill_worker.cache.entry import Entry

__all__ = ["Cache", "Computed", "Entry", "Store"]
