"""One child process that serves us: its frozen description, how it starts, becomes ready and stops.

A component
- answers on loopback only, logs to a file in its own directory, and is the leader of its own process group,
  so that a Ctrl-C in the terminal reaches us alone and we stop things in order;
- ends when the process that started it ends, even by SIGKILL (Linux; elsewhere the next start on the same
  directory ends what was left behind);
- holds a lock on its directory while it runs, so two starts can't share one state.

Start components from the main thread: Linux ties "dies with its parent" to the thread that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_POLL_SECONDS = 0.02
_LOG_TAIL_LINES = 15
# So many lines tell of the last failure; those before may tell of an earlier start.
_LAST_WORDS = 4
_LINUX = sys.platform == "linux"


class ComponentError(Exception):
    """A component couldn't be started, or ended by itself; the message says what to install or do."""


class DirectoryInUseError(ComponentError):
    """Another running process holds the directory's state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """What to run and how to know that it serves.

    `ready` is asked again and again from a thread: it returns whether the component serves, quickly
    (it must not wait longer than about a second), and raises nothing.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    ready: Callable[[], bool]
    advice: str
    """What a person can do if it doesn't start; a sentence."""
    causes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Said instead of `advice`: by a text among the last lines of its log."""
    prepare: Callable[[], None] | None = None
    """What must be done before each start, with the directory locked; it must leave alone what is done already."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    user: tuple[int, int] | None = None
    """(uid, gid) to run as, when we are root and the program refuses to be."""
    stop_signal: signal.Signals = signal.SIGTERM
    start_timeout: float = 60.0
    """Seconds until it must serve."""
    stop_timeout: float = 10.0
    """Seconds between asking it to end and killing it."""

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.directory / f"{self.name}.log"

    @property
    def record(self) -> Path:
        """The file that says which process runs here, for whoever starts here next."""
        return self.directory / f"{self.name}.pid"


class Running:
    """A started component.  `stop` is idempotent; `ready` must have returned before it is used."""

    def __init__(self, component: Component, child: subprocess.Popen[bytes], lock: IO[str]) -> None:
        """Take over a process just started by `start`, and the lock on its directory."""
        self.component = component
        self._child = child
        self._lock = lock

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's too."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._child.poll() is None

    def ready_blocking(self) -> None:
        """Wait until it serves; raise `ComponentError` with the end of its log if it doesn't."""
        for pause in self._until_ready():
            time.sleep(pause)

    async def ready(self) -> None:
        """Wait until it serves, without blocking the loop; raises as `ready_blocking`."""
        attempts = self._until_ready()
        while (pause := await asyncio.to_thread(next, attempts, None)) is not None:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(pause)

    async def ended(self) -> int:
        """Wait for it to end by itself; returns its exit code (negative: the signal that ended it)."""
        while (code := self._child.poll()) is None:  # noqa: ASYNC110 - a child of Popen has no event
            await asyncio.sleep(0.2)
        return code

    def failure(self) -> ComponentError:
        """Why it ended, in words: its exit and the end of its log."""
        return ComponentError(_explain(self.component, f"ended ({_exit(self._child.poll())})"))

    def stop(self) -> None:
        """Ask its process group to end, wait, kill what remains; release its directory."""
        if self._child.poll() is None:
            self._child.send_signal(self.component.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(self.component.stop_timeout)
        # Its own children too: a group outlives its leader.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self.component.record.unlink(missing_ok=True)
        self._lock.close()

    def _until_ready(self) -> Iterator[float]:
        """Yield the pause before each next look; end when ready."""
        limit = time.monotonic() + self.component.start_timeout
        while not self.component.ready():
            if not self.alive:
                raise self.failure()
            if time.monotonic() > limit:
                took = f"did not serve within {self.component.start_timeout:g} s"
                raise ComponentError(_explain(self.component, took))
            yield _POLL_SECONDS


def start(component: Component, *, keep_log: bool = True) -> Running:
    """Start the process; it may not serve yet (`Running.ready`).

    Its output goes to its log file, or without `keep_log` to where ours goes.

    Raises:
        DirectoryInUseError: somebody else runs it on this directory right now.
        ComponentError: its preparation failed.
    """
    component.directory.mkdir(parents=True, exist_ok=True)
    lock = _lock(component)
    try:
        _end_leftover(component)
        if component.prepare is not None:
            component.prepare()
        child = _spawn(component, keep_log=keep_log)
    except BaseException:
        lock.close()
        raise
    component.record.write_text(json.dumps({"pid": child.pid, "started": _started(child.pid)}), encoding="utf-8")
    return Running(component, child, lock)


@contextlib.asynccontextmanager
async def running(component: Component) -> AsyncIterator[Running]:
    """Start it, wait until it serves, stop it at the end."""
    started = start(component)
    try:
        await started.ready()
        yield started
    finally:
        await asyncio.to_thread(started.stop)


@contextlib.contextmanager
def running_blocking(component: Component) -> Iterator[Running]:
    """As `running`, where no event loop runs."""
    started = start(component)
    try:
        started.ready_blocking()
        yield started
    finally:
        started.stop()


@contextlib.asynccontextmanager
async def running_all(*components: Component) -> AsyncIterator[tuple[Running, ...]]:
    """Start all of them side by side, wait until all serve, stop all at the end, whatever happened to some."""
    started: list[Running] = []
    try:
        # One by one, so that what did start is stopped if the next one fails.
        started.extend(start(component) for component in components)
        async with asyncio.TaskGroup() as group:
            for each in started:
                group.create_task(each.ready())
        yield tuple(started)
    except* ComponentError as failures:
        raise _first(failures) from None
    finally:
        await asyncio.gather(*(asyncio.to_thread(each.stop) for each in reversed(started)))


def run_once(component: Component, stdin: str = "") -> None:
    """Run a program to its end in the same way (user, death with its parent).

    Raises `ComponentError` with the end of its log if it fails.
    """
    child = _spawn(component, stdin=subprocess.PIPE)
    child.communicate(stdin.encode())
    if child.returncode != 0:
        raise ComponentError(_explain(component, f"ended ({_exit(child.returncode)})"))


def _first(failures: BaseExceptionGroup[ComponentError]) -> ComponentError:
    """One failure of a group: the others are most often its consequences."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _spawn(component: Component, stdin: int = subprocess.DEVNULL, *, keep_log: bool = True) -> subprocess.Popen[bytes]:
    plan = {"parent": os.getpid(), "signal": int(component.stop_signal), "user": component.user}
    launcher = str(Path(__file__).with_name("_launch.py"))
    with component.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", launcher, json.dumps(plan), *component.command],
            stdin=stdin,
            stdout=log if keep_log else None,
            stderr=subprocess.STDOUT if keep_log else None,
            cwd=component.directory,
            env={**os.environ, **component.environment},
            start_new_session=True,
        )


def _lock(component: Component) -> IO[str]:
    """An exclusive lock on the component's directory; held until closed or until we die."""
    lock = (component.directory / f"{component.name}.lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise DirectoryInUseError(
            f"{component.name}: {component.directory} is in use by another running process; "
            "end that one or choose another directory"
        ) from error
    return lock


def _end_leftover(component: Component) -> None:
    """End a component that outlived the one who started it (we hold the lock, so nobody owns it)."""
    try:
        record = json.loads(component.record.read_text(encoding="utf-8"))
        pid, begun = int(record["pid"]), record["started"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    limit = time.monotonic() + component.stop_timeout
    how = component.stop_signal
    while begun is not None and _started(pid) == begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, how)
        if time.monotonic() > limit:
            how = signal.SIGKILL
        time.sleep(_POLL_SECONDS)
    component.record.unlink(missing_ok=True)


def _started(pid: int) -> str | None:
    """When a process began, as the system writes it, so that a reused pid is told from the same process.

    None if no such process runs.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        if _LINUX:
            return None
        listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return listed.stdout.strip() or None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else fields[18]


def _exit(code: int | None) -> str:
    if code is None:
        return "still running"
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _explain(component: Component, what: str) -> str:
    try:
        tail = component.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    except OSError:
        tail = []
    last = "\n".join(tail[-_LAST_WORDS:])
    advice = next((said for text, said in component.causes.items() if text in last), component.advice)
    shown = "\n".join(f"  | {line}" for line in tail)
    return f"{component.name} {what}. {advice}\nThe end of its log, {component.log}:\n{shown or '  (empty)'}"
