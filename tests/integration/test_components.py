"""The components start, stop, continue their state, clean up after crashes and say what to do when they can't."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from temporalio.client import Client

from tests.support.waiting import until
from tidemill_cli.dev.components import component, ports, postgres, programs, temporal
from tidemill_cli.dev.components import redis as redis_component
from tidemill_cli.dev.components.component import Component, ComponentError, DirectoryInUseError


def exists(pid: int) -> bool:
    """Whether a process with this id runs (a zombie doesn't)."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(shown.stdout.strip()) and not shown.stdout.strip().startswith("Z")


def sleeper(directory: Path, **changes: object) -> Component:
    """A component that does nothing but run, to look at what happens to processes."""
    fields: dict[str, object] = {
        "name": "sleeper",
        "command": ("/bin/sleep", "600"),
        "directory": directory,
        "ready": lambda: True,
        "advice": "Install a shell.",
    }
    return Component(**{**fields, **changes})  # type: ignore[arg-type]  # a table of fields, checked by running


async def write_postgres(directory: Path) -> None:
    server = postgres.describe(directory)
    async with component.running(server.component):
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("CREATE SCHEMA tidemill")
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        schema = await connection.fetchval(
            "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'kept'"
        )
        assert schema == "public", (
            "a name without a schema is a person's, also where our own schema has the user's name"
        )
        await connection.close()


async def read_postgres(directory: Path) -> object:
    server = postgres.describe(directory)
    async with component.running(server.component):
        connection = await asyncpg.connect(server.dsn)
        answer: object = await connection.fetchval("SELECT answer FROM kept")
        await connection.close()
        return answer


async def test_postgres_continues_its_state(tmp_path: Path) -> None:
    await write_postgres(tmp_path)
    first = postgres.describe(tmp_path).dsn
    assert await read_postgres(tmp_path) == 42
    assert postgres.describe(tmp_path).dsn == first, "port and password are kept, so a printed DSN stays true"


async def test_postgres_password_is_needed_and_private(tmp_path: Path) -> None:
    server = postgres.describe(tmp_path)
    assert (tmp_path / "password").stat().st_mode & 0o077 == 0
    async with component.running(server.component):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.dsn.replace(server.password, "wrong"))


async def test_redis_continues_its_state(tmp_path: Path) -> None:
    server = redis_component.describe(tmp_path)
    async with component.running(server.component), redis.asyncio.from_url(server.url) as client:
        await client.set("kept", "yes")
    again = redis_component.describe(tmp_path)
    async with component.running(again.component), redis.asyncio.from_url(server.url) as client:
        assert await client.get("kept") == b"yes"


async def test_temporal_continues_its_state(tmp_path: Path) -> None:
    server = temporal.describe(tmp_path)
    async with component.running(server.component):
        client = await Client.connect(server.address)
        started = await client.start_workflow("Anything", id="kept", task_queue="nobody")
    again = temporal.describe(tmp_path, ui=True)
    assert again.address == server.address
    async with component.running(again.component):
        client = await Client.connect(again.address)
        found = await client.get_workflow_handle("kept").describe()
        assert found.run_id == started.result_run_id
        assert again.ui_url is not None
        assert ports.accepts(int(again.ui_url.rpartition(":")[2]))


async def test_all_start_side_by_side_and_one_that_fails_stops_the_others(tmp_path: Path) -> None:
    good = sleeper(tmp_path / "good")
    bad = sleeper(tmp_path / "bad", name="bad", command=("/bin/sh", "-c", "echo no disk; exit 3"), ready=lambda: False)
    with pytest.raises(ComponentError, match=r"bad ended \(exit code 3\). Install a shell.") as caught:
        async with component.running_all(good, bad):
            pytest.fail("it must not begin")
    assert "  | no disk" in str(caught.value), "the end of the log is shown"
    # Its lock is free again, so it was stopped.
    async with component.running_all(good) as (started,):
        assert started.alive


def test_a_component_that_never_serves_is_given_up(tmp_path: Path) -> None:
    never = sleeper(tmp_path, ready=lambda: False, start_timeout=0.1)
    with (
        pytest.raises(ComponentError, match=r"sleeper did not serve within 0.1 s. Install a shell."),
        component.running_blocking(never),
    ):
        pytest.fail("it must not begin")


def test_a_program_that_is_missing_says_what_to_install() -> None:
    with pytest.raises(ComponentError, match=r"no-such-program was not found: install it with `pip install 'tidemill"):
        programs.script("no-such-program", distribution="no-such-bin")
    with pytest.raises(ComponentError, match=r"pip install no-such-bin` alone"):
        programs.packaged("no_such_module", "bin/x", distribution="no-such-bin", name="no-such-program")


def test_a_program_that_cannot_be_executed_says_so(tmp_path: Path) -> None:
    broken = sleeper(tmp_path, command=(str(tmp_path / "absent"),), ready=lambda: False)
    with pytest.raises(ComponentError, match="No such file or directory"), component.running_blocking(broken):
        pytest.fail("it must not begin")


def test_a_directory_serves_one_at_a_time(tmp_path: Path) -> None:
    one = sleeper(tmp_path)
    with component.running_blocking(one), pytest.raises(DirectoryInUseError, match="in use by another running process"):
        component.start(one)
    with component.running_blocking(one) as again:
        assert again.alive


def test_stop_ends_the_whole_group_even_if_it_ignores_the_signal(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 600 & echo $! > child; while :; do sleep 600; done"
    stubborn = sleeper(tmp_path, command=("/bin/sh", "-c", script), ready=(tmp_path / "child").exists, stop_timeout=0.1)
    started = component.start(stubborn)
    started.ready_blocking()
    child = until(lambda: (tmp_path / "child").read_text().strip(), "the child's pid")
    started.stop()
    assert not started.alive
    until(lambda: not exists(int(child)), "the child's end")
    started.stop()  # harmless


async def test_an_end_by_itself_is_noticed(tmp_path: Path) -> None:
    short = sleeper(tmp_path, command=("/bin/sh", "-c", "echo the disk is full; kill -9 $$"))
    started = component.start(short)
    try:
        assert await started.ended() == -signal.SIGKILL
        assert "sleeper ended (signal SIGKILL)" in str(started.failure())
        assert "the disk is full" in str(started.failure())
    finally:
        started.stop()


# A process of its own that starts all components and prints their pids, then waits to be killed.
_OWNER = """
import json, signal, sys
from pathlib import Path
from tidemill_cli.dev.components import component, postgres, redis, temporal
root = Path(sys.argv[1])
all_of_them = [
    postgres.describe(root / "postgres").component,
    redis.describe(root / "redis").component,
    temporal.describe(root / "temporal").component,
]
started = [component.start(each) for each in all_of_them]
for each in started:
    each.ready_blocking()
print(json.dumps([each.pid for each in started]), flush=True)
signal.pause()
"""


def test_all_die_with_a_parent_that_is_killed_and_the_next_start_works(tmp_path: Path) -> None:
    for _ in range(2):
        owner = subprocess.Popen([sys.executable, "-c", _OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert owner.stdout is not None
        with owner.stdout:
            pids: list[int] = json.loads(owner.stdout.readline())
            assert all(exists(pid) for pid in pids)
            owner.kill()
            owner.wait()
            if sys.platform == "linux":  # elsewhere it is the next start that ends what outlived its owner
                until(lambda: not any(map(exists, pids)), "the end of every component")  # noqa: B023 - called at once


def test_what_outlived_its_owner_is_ended_by_the_next_start(tmp_path: Path) -> None:
    """Where no signal tells of the parent's death, a component outlives it."""
    orphan = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    lasting = sleeper(tmp_path)
    lasting.record.write_text(json.dumps({"pid": orphan.pid, "started": component._started(orphan.pid)}))
    with component.running_blocking(lasting) as started:
        assert started.pid != orphan.pid
        assert orphan.wait(timeout=5) == -signal.SIGTERM


@pytest.mark.parametrize("record", ['{"pid": %d, "started": "12"}', "not json", "[]", '{"pid": "x"}'])
def test_a_stale_record_harms_nobody(tmp_path: Path, record: str) -> None:
    """A pid that was reused by somebody else's process is left alone."""
    somebody = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    try:
        lasting = sleeper(tmp_path)
        lasting.record.write_text(record.replace("%d", str(somebody.pid)))
        with component.running_blocking(lasting):
            assert somebody.poll() is None
    finally:
        somebody.kill()
        somebody.wait()


def test_ports_are_free_distinct_and_kept(tmp_path: Path) -> None:
    kept = tmp_path / "ports.json"
    chosen = ports.remembered(kept, "a", "b")
    assert chosen["a"] != chosen["b"]
    ports.remember(kept, chosen)
    assert ports.remembered(kept, "a", "b") == chosen
    with socket.create_server((ports.LOOPBACK, chosen["a"])):
        assert ports.accepts(chosen["a"])
        moved = ports.remembered(kept, "a", "b")
        assert moved["a"] != chosen["a"], "somebody else took it"
        assert moved["b"] == chosen["b"]
    kept.write_text("[1]")
    assert set(ports.remembered(kept, "a")) == {"a"}


def test_no_free_port_says_what_was_tried() -> None:
    with pytest.raises(ports.NoFreePortError, match=r"no free TCP port on 127.0.0.1 among 200 tried"):
        ports.free(taken=frozenset(range(65536)))


@pytest.mark.parametrize(
    "serves",
    [
        pytest.param(redis_component._pong, id="redis"),
        pytest.param(temporal._serves, id="temporal"),
    ],
)
def test_something_else_on_the_port_is_not_taken_for_the_component(serves: Callable[[int], bool]) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as other:
        port: int = other.getsockname()[1]
        assert not serves(port), "it accepts but doesn't answer"
    assert not serves(port), "nobody listens"


async def test_postgres_is_never_root_and_reaches_its_files_below_closed_folders(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = postgres.describe(closed / "postgres")
    async with component.running(server.component) as started:
        shown = subprocess.run(["ps", "-o", "uid=", "-p", str(started.pid)], capture_output=True, text=True, check=True)
        assert shown.stdout.strip() != "0"
        assert effective_capabilities(started.pid).bit_count() <= 1, "one to search and read, if we are root"
        connection = await asyncpg.connect(server.dsn)
        await connection.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncpg.connect(server.dsn)


def effective_capabilities(pid: int) -> int:
    """The bit mask of what a process may do beyond its user's rights; 0 where the system has no such thing."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


async def test_a_given_password_is_changed_by_the_next_start_and_databases_are_made(tmp_path: Path) -> None:
    listen = ports.Listen("0.0.0.0", {"postgres": ports.free()})  # noqa: S104 - as in a pod
    for password, databases in (("first", ["one"]), ("it's \\another", ["one", "two"])):
        server = postgres.describe(tmp_path, listen=listen, password=password, databases=databases)
        assert password not in server.component.command
        async with component.running(server.component):
            for database in databases:
                connection = await asyncpg.connect(
                    host="127.0.0.1", port=server.port, user=postgres.USER, password=password, database=database
                )
                await connection.close()
    assert "another" not in (tmp_path / "initdb.log").read_text()
    rules = (tmp_path / "data" / "pg_hba.conf").read_text()
    assert rules.count("host all all all scram-sha-256") == 1


def test_a_note_of_a_killed_postgres_whose_process_id_is_somebody_else_now_is_no_hindrance(tmp_path: Path) -> None:
    server = postgres.describe(tmp_path)
    with component.running_blocking(server.component):
        pass
    # As after a restart of a container: the id is now of a process that has nothing to do with it.
    note = tmp_path / "data" / "postmaster.pid"
    other = subprocess.Popen(["/bin/sleep", "600"], user=(tmp_path / "data").stat().st_uid)
    try:
        note.write_text(f"{other.pid}\n{tmp_path / 'data'}\n1\n{server.port}\n\n\n")
        with component.running_blocking(postgres.describe(tmp_path).component):
            assert int(note.read_text().split("\n")[0]) != other.pid
    finally:
        other.kill()
        other.wait()


async def test_what_a_killed_postgres_left_at_work_does_not_keep_the_next_one_from_starting(tmp_path: Path) -> None:
    server = postgres.describe(tmp_path)
    async with component.running(server.component) as started:
        connection = await asyncpg.connect(server.dsn)
        backend = connection.get_server_pid()
        busy = asyncio.create_task(connection.execute("SELECT count(*) FROM generate_series(1, 100000000000) AS a"))
        try:
            watcher = await asyncpg.connect(server.dsn)
            working = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1"
            while not await watcher.fetchval(working, backend):
                pass
            os.killpg(started.pid, signal.SIGKILL)
            await asyncio.to_thread(started.stop)
            assert exists(backend), "a statement that doesn't wait goes on without the server"
            async with component.running(postgres.describe(tmp_path).component):
                assert not exists(backend)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(backend, signal.SIGKILL)
            with contextlib.suppress(asyncpg.PostgresError, OSError):
                await busy


def test_a_cause_that_the_log_tells_stands_instead_of_the_advice(tmp_path: Path) -> None:
    script = "echo FATAL: block still in use; echo HINT: end it; exit 1"
    causes = {"block still in use": "Others are at work."}
    failing = sleeper(tmp_path, command=("/bin/sh", "-c", script), ready=lambda: False, causes=causes)
    with (
        pytest.raises(ComponentError, match=r"sleeper ended \(exit code 1\). Others are at work.\n"),
        component.running_blocking(failing),
    ):
        pytest.fail("it must not begin")


async def test_redis_asks_for_the_given_password(tmp_path: Path) -> None:
    server = redis_component.describe(tmp_path, password="it's \"another")
    async with component.running(server.component):
        async with redis.asyncio.from_url(server.url) as client:
            assert await client.ping()
        async with redis.asyncio.from_url(server.url.rpartition("@")[2].join(("redis://", ""))) as client:
            with pytest.raises(redis.asyncio.AuthenticationError):
                await client.ping()
    assert not any("another" in word for word in server.component.command)


async def test_temporal_has_the_namespaces_it_was_told(tmp_path: Path) -> None:
    server = temporal.describe(tmp_path, namespaces=["travel"], persistent=False)
    async with component.running(server.component):
        await Client.connect(server.address, namespace="travel")
