"""`tidemill dev` as a person has it: a child process with its output, its signals and all processes below it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.kubernetes import ROOT
from tests.support.waiting import until

TIDEMILL = str(Path(sys.executable).with_name("tidemill"))


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What `--output json` printed: one object a run."""
        return [json.loads(line) for line in self.stdout.splitlines()]


def tidemill(*arguments: str | Path, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> Ended:
    """Run a `tidemill` command to its end."""
    done = subprocess.run(
        [TIDEMILL, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass
class Session:
    """A running `tidemill` command; `stdout` and `stderr` are the lines so far."""

    child: subprocess.Popen[str]
    stdout: list[str] = field(default_factory=list[str])
    stderr: list[str] = field(default_factory=list[str])

    def wait_for(self, text: str, timeout: float = 150.0) -> str:
        """The first line of stderr that holds the text, once it is there."""

        def look() -> str | None:
            found = next((line for line in self.stderr if text in line), None)
            assert found or self.child.poll() is None, f"ended with {self.child.poll()}: {''.join(self.stderr)}"
            return found

        return until(look, f"{text!r} on stderr of {self.child.args!r}", timeout) or ""

    def wait_for_runs(self, count: int, timeout: float = 150.0) -> list[dict[str, Any]]:
        """What `--output json` printed, once it is at least so many runs."""
        lines = until(lambda: self.stdout[:] if len(self.stdout) >= count else None, f"{count} runs", timeout)
        return [json.loads(line) for line in lines or []]

    def end(self, timeout: float = 150.0) -> int:
        """Wait for its end; returns the exit code."""
        return self.child.wait(timeout)

    def tree(self) -> dict[int, str]:
        """Its own process and all below it: command lines by process id."""
        return {pid: _command(pid) for pid in _below(self.child.pid)}

    def part(self, word: str) -> int:
        """The process id of the part whose command line has the word; the one nearest to us if there are several."""
        return next(pid for pid, command in self.tree().items() if pid != self.child.pid and word in command)


@contextlib.contextmanager
def session(*arguments: str | Path, cwd: Path = ROOT) -> Iterator[Session]:
    """Start a `tidemill` command; whatever is left of it at the end is killed."""
    child = subprocess.Popen(
        [TIDEMILL, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    running = Session(child)
    readers = [
        threading.Thread(target=_keep, args=(stream, lines), daemon=True)
        for stream, lines in ((child.stdout, running.stdout), (child.stderr, running.stderr))
    ]
    for reader in readers:
        reader.start()
    try:
        yield running
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(30)
        for pid in _below(child.pid) if child.poll() is None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.wait()
        for reader in readers:
            reader.join()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def gone(pids: dict[int, str], timeout: float = 60.0) -> None:
    """Wait until none of these processes runs any more."""
    until(
        lambda: not [pid for pid, command in pids.items() if _command(pid) == command],
        f"the end of {[command[:60] for pid, command in pids.items() if _command(pid) == command]}",
        timeout,
    )


def _keep(stream: Any, lines: list[str]) -> None:
    lines.extend(stream)


def _command(pid: int) -> str:
    """A process's command line; empty if it is gone, or dead and not yet buried."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _below(pid: int) -> list[int]:
    """A process and its descendants, parents first."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                with contextlib.suppress(OSError):
                    found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found
