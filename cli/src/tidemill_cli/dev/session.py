"""One session of `tidemill dev`: parts started in order, pipelines run, everything stopped whatever happened."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Final

from tidemill_api.contract import RunResult
from tidemill_api.v1alpha1.datapipelinerun import Replay
from tidemill_cli.dev import databases, worker
from tidemill_cli.dev.components import postgres, redis, temporal
from tidemill_cli.dev.components.component import Running, running_all
from tidemill_cli.dev.display import Display
from tidemill_cli.dev.folder import StateFolder
from tidemill_cli.dev.guard import while_all_run
from tidemill_cli.dev.layout import Embedded, External, Layout, Pool
from tidemill_cli.dev.summary import Addresses, where_to_look
from tidemill_cli.dev.view import RunView

if TYPE_CHECKING:
    from tidemill_cli.dev.runs import Runs
    from tidemill_cli.dev.schedules import Schedules

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedError(Exception):
    """A person (or whoever started us) asked to stop."""

    def __init__(self, number: int) -> None:
        """`number` of the signal."""
        super().__init__(signal.Signals(number).name)
        self.signal = number


@dataclass(frozen=True, slots=True)
class Session:
    """What to run and where; `ended` is told of each run's result at once."""

    layout: Layout
    folder: StateFolder
    display: Display
    ended: Callable[[RunResult], None]
    replay: Replay | None = None
    """Rejected rows to run again, instead of the sources; with `once`."""

    async def once(self) -> tuple[RunResult, ...]:
        """One run of each pipeline, then stop. Raises ComponentError if a part can't start or ends by itself."""
        async with self._parts(ui=False) as parts:
            if self.folder.kept:
                self._say_where(parts)
            return await while_all_run(parts.running, self._first_runs(parts))

    async def forever(self) -> None:
        """One run of each pipeline, then what their schedules say, until stopped (`StoppedError`)."""
        async with self._parts(ui=True) as parts:
            await while_all_run(parts.running, self._first_then_scheduled(parts))

    async def _first_runs(self, parts: _Parts) -> tuple[RunResult, ...]:
        await parts.schedules.clear()
        what = "dev" if self.replay is None else "replay"
        name = f"{what}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(parts.runs.run_once(each, name, self.replay)) for each in self.layout.pipelines]
        return tuple(task.result() for task in tasks)

    async def _first_then_scheduled(self, parts: _Parts) -> None:
        self._say_where(parts)
        await self._first_runs(parts)
        for line in await parts.schedules.apply(self.layout):
            self.display.note(line)
        self.display.note("Ctrl-C stops everything.")

        async with asyncio.TaskGroup() as group:
            group.create_task(parts.schedules.follow(self.layout))
            async for run in parts.runs.unfollowed():
                group.create_task(parts.runs.follow(run.id, run.start_time))

    def _say_where(self, parts: _Parts) -> None:
        for line in where_to_look(self.layout, parts.addresses):
            self.display.note(line)

    def _show(self, view: RunView) -> None:
        self.display.run(view)
        if view.result is not None:
            self.ended(view.result)

    @asynccontextmanager
    async def _parts(self, ui: bool) -> AsyncIterator[_Parts]:
        root = self.folder.path
        self.display.note("starting Temporal, PostgreSQL and Redis")
        time_server = temporal.describe(root / "temporal", ui=ui)
        database_server = postgres.describe(root / "postgres")
        cache_server = redis.describe(root / "redis")
        components = (time_server.component, database_server.component, cache_server.component)
        # Temporal's client takes about a second to import: while its server and the others start.
        clients = asyncio.create_task(asyncio.to_thread(import_module, "tidemill_cli.dev.clients"))
        with _stopping() as kill_list:
            async with running_all(*components) as servers:
                kill_list.extend(servers)
                await while_all_run(servers, databases.make(self.layout.embedded, database_server.dsn_of))
                self.display.note("starting the workers" if len(self.layout.pools) > 1 else "starting the worker")
                workers = [
                    worker.describe(
                        pool.label if len(self.layout.pools) > 1 else "",
                        self.folder.worker(pool, time_server.address, _dsns(pool, database_server), cache_server.url),
                        worker.modules(self.layout, pool),
                    )
                    for pool in self.layout.pools
                ]
                async with running_all(*workers) as started:
                    kill_list.extend(started)
                    running = (*servers, *started)
                    connecting = (await clients).connect(time_server.address, self._show)
                    runs, schedules = await while_all_run(running, connecting)
                    yield _Parts(
                        running, runs, schedules, _addresses(time_server, database_server, cache_server, self.layout)
                    )
                    self.display.note("stopping")


@dataclass(frozen=True, slots=True)
class _Parts:
    """What runs during a session."""

    running: tuple[Running, ...]
    runs: Runs
    schedules: Schedules
    addresses: Addresses


def _addresses(
    time_server: temporal.TemporalServer,
    database_server: postgres.PostgresServer,
    cache_server: redis.RedisServer,
    layout: Layout,
) -> Addresses:
    return Addresses(
        temporal=time_server.address,
        temporal_ui=time_server.ui_url,
        redis=cache_server.url,
        databases={each.connection: database_server.dsn_of(each.database) for each in layout.embedded},
        psql=database_server.psql,
    )


def _dsns(pool: Pool, server: postgres.PostgresServer) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in pool.postgres:
        match each:
            case Embedded():
                found[each.connection] = server.dsn_of(each.database)
            case External():
                found[each.connection] = each.dsn
    return found


@contextmanager
def _stopping() -> Iterator[list[Running]]:
    """The first signal to stop cancels this task, which stops all parts in order; a second one kills them at once.

    What is put into the list yielded is what the second one kills. Raises `StoppedError` at the end.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    kill_list: list[Running] = []
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        if len(received) == 1 and task is not None:
            task.cancel()
        for each in kill_list if len(received) > 1 else ():
            if each.alive:
                os.killpg(each.pid, signal.SIGKILL)

    for each in _STOP_SIGNALS:
        loop.add_signal_handler(each, stop, each)
    try:
        yield kill_list
    except asyncio.CancelledError:
        if not received:
            raise
        if task is not None:
            task.uncancel()
        raise StoppedError(received[0]) from None
    finally:
        for each in _STOP_SIGNALS:
            loop.remove_signal_handler(each)
