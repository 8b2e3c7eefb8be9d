"""Secrets that change under a working worker, replaced as a kubelet does it: by one symbolic link over another."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.fixtures import Database
from tests.support.halfway import rows_are_exact, spec, until_half_way, write
from tests.support.worker import Pool, Runs, eventually


@dataclass
class Rotated:
    """A pool whose database has a role of its own, and its mounted Secret."""

    pool: Pool
    role: str
    written: list[Path] = field(default_factory=list[Path])

    def dsn(self, password: str) -> str:
        port = self.pool.database.server.port
        return f"postgresql://{self.role}:{password}@127.0.0.1:{port}/{self.pool.database.name}"

    def mount(self, content: str | None) -> None:
        """The next state of the projected volume; None: the Secret has lost its key."""
        volume = self.pool.folder / "volume"
        state = volume / f"..state-{len(self.written)}"
        (state / "secrets" / "warehouse").mkdir(parents=True)
        if content is not None:
            (state / "secrets" / "warehouse" / "dsn").write_text(content)
        fresh = volume / "..data_tmp"
        fresh.symlink_to(state.name)
        fresh.rename(volume / "..data")
        if not self.pool.secrets.is_symlink():
            self.pool.secrets.symlink_to(volume / "..data" / "secrets")
        if self.written:
            shutil.rmtree(self.written[-1])
        self.written.append(state)

    def set_password(self, password: str) -> None:
        """In the database, which ends no connection by itself; then an administrator ends them."""
        self.pool.database.query(
            f"ALTER ROLE {self.role} PASSWORD '{password}'; "
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{self.role}'"
        )


@pytest.fixture
def rotated(pool: Pool, database: Database) -> Iterator[Rotated]:
    pool.database = database  # an empty one: the role makes its tables
    role = pool.database.name
    pool.database.query(
        f"CREATE ROLE {role} LOGIN PASSWORD 'first-word'; GRANT ALL ON DATABASE {role} TO {role}; "
        f"GRANT ALL ON SCHEMA public TO {role}"
    )
    made = Rotated(pool, role)
    made.mount(made.dsn("first-word"))
    yield made
    for process in pool.processes:
        if process.child.poll() is None:
            process.kill()
    pool.database.query(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.mark.parametrize("disposition", ["Append", "Merge"])
async def test_a_password_that_changes_under_a_run_harms_nothing(
    rotated: Rotated, runs: Runs, disposition: str
) -> None:
    """The database refuses the former password at once; the new one reaches the worker some time later."""
    write(rotated.pool)
    worker = rotated.pool.start()
    handle = await runs.start(spec(disposition, retry={"initialInterval": "200ms", "maximumInterval": "1s"}))
    await until_half_way(rotated.pool)

    await asyncio.to_thread(rotated.set_password, "second-word")
    await eventually(lambda: "the Secret is expected to follow" in worker.log.read_text())
    assert (await handle.describe()).close_time is None
    rotated.mount(rotated.dsn("second-word"))

    await rows_are_exact(rotated.pool, runs, handle)
    log = worker.log.read_text()
    assert "its Secret has changed, new connections use it" in log
    assert not [word for word in ("first-word", "second-word") if word in log]
    assert worker.stop() == 0


async def test_what_cant_be_used_is_said_and_the_former_stays(rotated: Rotated, runs: Runs) -> None:
    (rotated.pool.landing / "small.csv").write_text("id,text\n1,a\n")
    worker = rotated.pool.start()
    unusable = 'tidemill_worker_secret_unusable{connection="warehouse",pool="etl",pool_namespace="travel"} '

    for content, words in (
        (rotated.dsn("wrong-word"), "the server refuses the user or password of its Secret (28P01)"),
        ("no dsn", "its Secret holds no connection string"),
        (rotated.dsn("first-word") + "-nowhere", "there is no such database (3D000)"),
        (None, "Secret warehouse has no key dsn here yet"),
    ):
        rotated.mount(content)
        await eventually(lambda words=words: words in worker.log.read_text())
        assert f"{unusable}1.0" in worker.get("/metrics")[1]
    assert worker.get("/readyz")[0] == 200
    async with asyncio.timeout(60):
        assert (await runs.run(spec("Merge"))).result == "Succeeded"

    await asyncio.to_thread(rotated.set_password, "third-word")
    rotated.mount(rotated.dsn("third-word"))
    await eventually(lambda: f"{unusable}0.0" in worker.get("/metrics")[1])
    async with asyncio.timeout(60):
        assert (await runs.run(spec("Merge"))).result == "Succeeded"

    log = worker.log.read_text()
    assert log.count("password of its Secret (28P01)") == 1
    assert not [word for word in ("first-word", "wrong-word", "third-word") if word in log]
    assert worker.stop() == 0
