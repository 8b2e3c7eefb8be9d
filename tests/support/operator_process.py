"""The operator as a child process, as it runs in a cluster, but with short intervals."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import until
from tidemill_cli.dev.components import ports


@dataclass(frozen=True, slots=True)
class OperatorProcess:
    """A running operator."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of /healthz, /readyz or /metrics; status 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (urllib.error.URLError, OSError):
            return 0, ""

    def figure(self, name: str, **labels: str) -> float:
        """The sum of a figure over all labels that match."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and all(f'{label}="{value}"' in (match[1] or "") for label, value in labels.items()):
                total += float(match[2])
        return total

    def leads(self) -> bool:
        """Whether it is the leader."""
        return self.figure("tidemill_operator_leader") == 1

    def stop(self) -> int:
        """Ask it to stop, as Kubernetes does, and wait; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """End it at once, as the kernel does when memory runs out."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


def start_operator(
    folder: Path, kubeconfig: Path, installation: str, *arguments: str, temporal: str = "", ready: bool = True
) -> OperatorProcess:
    """Start an operator that logs into `folder`, and wait until it is ready; `temporal` is its Temporal's address."""
    folder.mkdir(parents=True, exist_ok=True)
    port = ports.free()
    log = folder / f"operator-{port}.log"
    options = {
        "installation": installation,
        "kubeconfig": str(kubeconfig),
        "health-address": f"127.0.0.1:{port}",
        "temporal-address": temporal,
        "sweep-interval": "0.5",
        "lease-duration": "4",
        "log-level": "debug",
    }
    command = [sys.executable, "-m", "tidemill_operator", *(f"--{name}={value}" for name, value in options.items())]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *arguments], stdout=output, stderr=output, env=dict(os.environ))
    operator = OperatorProcess(process, port, log)
    if ready:
        try:
            until(lambda: operator.get("/readyz")[0] == 200 or process.poll() is not None, "the operator is ready", 60)
        except BaseException:
            operator.kill()
            raise
        if process.poll() is not None:
            raise AssertionError(f"the operator ended with {process.returncode}: {log.read_text()[-2000:]}")
    return operator


@contextlib.contextmanager
def running_operator(
    folder: Path, kubeconfig: Path, installation: str, *arguments: str, temporal: str = ""
) -> Iterator[OperatorProcess]:
    """As `start_operator`; it ends with the block."""
    operator = start_operator(folder, kubeconfig, installation, *arguments, temporal=temporal)
    try:
        yield operator
    finally:
        if operator.process.poll() is None:
            operator.stop()
