"""What a worker sees to now and then, when a run has ended: that nothing outlives its time.

Dead letters go by their pipeline's retention; what a run had staged, or kept for its later stages, goes with the run,
or here if the run was terminated and nobody has cleaned up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import asyncpg
from pydantic import ValidationError

from tidemill_api.errors import TidemillError
from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.dead_letter import DeadLetter
from tidemill_worker.connections import PoolConnections, outages
from tidemill_worker.engine.artifacts import RunFolder
from tidemill_worker.engine.model import Connections
from tidemill_worker.engine.postgres import forgetting as forgetting_in_sinks
from tidemill_worker.engine.postgres import staging
from tidemill_worker.metastore import Metastore, RunId, forgetting, retention

_log = logging.getLogger(__name__)

EVERY = 600.0
"""Seconds between two passes of one worker."""
YOUNG = 3600.0
"""Seconds: what was changed since then isn't looked at."""
KEPT = timedelta(days=90)
"""So long after a run's end all of its bookkeeping is kept."""
FORGOTTEN = 30 * 86400.0
"""Seconds after which artifacts go whose run the metastore doesn't know."""


class Housekeeping:
    """Remembers what it has seen to, so that most runs cost nothing."""

    def __init__(self, store: Metastore, connections: PoolConnections) -> None:
        self._store = store
        self._connections = connections
        self._noted: dict[str, timedelta] = {}
        self._passed = -EVERY

    async def after_run(self, uid: str, spec: dict[str, Any]) -> None:
        """Note the pipeline's retention if it is a new one, and remove what is too old. Never raises: it can wait."""
        try:
            kept = parse_duration(DeadLetter.model_validate(spec.get("deadLetter") or {}).retention)
            if self._noted.get(uid) != kept:
                await retention.keep_for(self._store, uid, kept)
                if uid in self._noted:
                    self._passed = -EVERY
                self._noted[uid] = kept
            if time.monotonic() - self._passed >= EVERY:
                self._passed = time.monotonic()
                gone = await retention.expire(self._store)
                if gone:
                    _log.info("removed %d dead letters whose retention is over", gone)
                await forget_staging(self._store, self._connections)
                await settle_files(self._connections)
                await forget_runs(self._store, self._connections)
                await forget_artifacts(self._store, self._connections, time.time())
        except (TidemillError, ValidationError, asyncpg.PostgresError) as error:
            _log.warning("what is old stays for now: %s", type(error).__name__)


async def forget_staging(store: Metastore, connections: PoolConnections) -> None:
    """Drop staging tables of runs that have ended: of such as were terminated, or whose last step could not.

    Tables of runs that this metastore doesn't know stay: a database may be the sink of several pools.
    """
    for name, pool in (await connections.in_use()).items():
        with outages(name):
            there = await staging.staged_there(pool)
            if not there:
                continue
            runs = await retention.sinks_of_ended(store)
            left = there & await asyncio.to_thread(_staging, runs)
            await staging.drop_staging(pool, sorted(left))
        if left:
            _log.info("connection %s: dropped %d staging tables that runs have left", name, len(left))


async def settle_files(connections: Connections) -> None:
    """Of sinks that are files: carry out what ended runs had decided, and drop what they have staged and hadn't.

    One that can't be settled now (a store that doesn't answer, a connection that is gone) doesn't keep others.
    """
    from tidemill_worker.engine.filesink import books

    pool = await connections.books()
    with outages(connections.books_in):
        left, undecided = await books.left_by_ended(pool), await books.undecided_of_ended(pool)
        await books.forget_old(pool, KEPT)
    if not (left or undecided):
        return
    from tidemill_worker.engine.bookkeeping import Books
    from tidemill_worker.engine.filesink import claiming, publish

    for data in left:
        with _for_later(f"files of the sink {data.sink}"):
            await publish.finish(Books(connections.books_in, pool), data, connections.writable(data.connection))
    for each in undecided:
        with _for_later(f"staged files of the run {each.run_key}"):
            await claiming.give_up(each, connections)


@contextmanager
def _for_later(what: str) -> Iterator[None]:
    try:
        yield
    except TidemillError as error:
        _log.warning("%s stay as they are for now: %s", what, error)


async def forget_runs(store: Metastore, connections: PoolConnections) -> None:
    """Forget the bookkeeping of some runs whose time is over: first in their sinks' databases, then in the metastore.

    A sink whose connection this worker doesn't use keeps its own: another worker's pass, or nobody, sees to it.
    """
    old, uids = await forgetting.old_runs(store, KEPT), await forgetting.without_letters(store)
    for name, pool in (await connections.in_use()).items():
        theirs = [(*each.run.columns, sink) for each in old for sink, connection in each.sinks if connection == name]
        with outages(name):
            await forgetting_in_sinks.forget_replayed(pool, uids, KEPT)
            if theirs:
                await forgetting_in_sinks.forget(pool, theirs)
    if not old:
        return
    written = [(*each.run.columns, sink) for each in old for sink in each.files]
    if written:
        await forgetting_in_sinks.forget(await connections.books(), written)
    await forgetting.forget(store, old)
    _log.info("forgot the bookkeeping of %d runs that ended %d days ago", len(old), KEPT.days)


def _staging(runs: Sequence[tuple[RunId, Sequence[str]]]) -> frozenset[str]:
    return frozenset(staging.staging_name(*run.columns, sink) for run, sinks in runs for sink in sinks)


async def forget_artifacts(store: Metastore, connections: PoolConnections, now: float) -> None:
    """Remove what runs that have ended have left in the pool's place for artifacts. `now` is in Unix time."""
    if not connections.keeps_artifacts:
        return
    place = connections.artifacts()
    old = {}
    for path, changed in await asyncio.to_thread(place.folders):
        run = RunFolder.named(path)
        if run is not None and changed < now - YOUNG:
            old[RunId(run.uid, run.run_key, run.execution)] = (path, changed)
    known = await retention.ended(store, list(old))
    for run_id, (path, changed) in old.items():
        if known.get(run_id, changed < now - FORGOTTEN):
            await asyncio.to_thread(place.drop, path)
            _log.info("removed what the run %s had kept for its later stages", run_id.run_key)
    await asyncio.to_thread(place.drop_unfinished, now - 24 * YOUNG)
