"""Prometheus by its own programs: promtool, and a server that scrapes processes of a test and evaluates rules."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.component import Component, ComponentError, running_blocking
from tools import prometheus

_ADVICE = "Run `make envtest`, which fetches it."


def program(name: str) -> Path:
    """Where prometheus or promtool is; raises `ComponentError` if `make envtest` hasn't fetched it."""
    if name in prometheus.missing(prometheus.cache()):
        raise ComponentError(f"{name} is needed. {_ADVICE}")
    return prometheus.cache() / name


def promtool(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool; its exit code and what it said."""
    command = [str(program("promtool")), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)


@dataclass(frozen=True, slots=True)
class Scraped:
    """Who is scraped: a job's name, its address, and labels as Kubernetes' discovery would give them."""

    job: str
    address: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """A running Prometheus."""

    port: int

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an instant query gives; raises `AssertionError` with Prometheus' words if it is no PromQL."""
        form = urllib.parse.urlencode({"query": expression}).encode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query", data=form, timeout=20) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{expression}: {json.load(error)['error']}") from error
        found: list[dict[str, Any]] = said["data"]["result"]
        return found

    def get(self, path: str) -> Any:
        """The data of another path of its API."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=20) as answer:
            return json.load(answer)["data"]


@contextlib.contextmanager
def running_prometheus(folder: Path, scraped: tuple[Scraped, ...], rules: Path) -> Iterator[PrometheusServer]:
    """A Prometheus that scrapes these each second, and evaluates rules as often; its state is in `folder`."""
    port = ports.free()
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": each.job, "static_configs": [{"targets": [each.address], "labels": dict(each.labels)}]}
            for each in scraped
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(config), encoding="utf-8")
    component = Component(
        name="prometheus",
        command=(
            *(str(program("prometheus")), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"),
            *(f"--web.listen-address={ports.LOOPBACK}:{port}", "--enable-feature=exemplar-storage"),
        ),
        directory=folder,
        ready=lambda: _ready(port),
        advice=_ADVICE,
    )
    with running_blocking(component):
        yield PrometheusServer(port)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
