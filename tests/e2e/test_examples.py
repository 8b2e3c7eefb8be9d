"""The example of an API with a cache: what `python3 examples/weather/api.py tidemill dev ...` comes to, run after run.

The other examples' pages are run as they stand, by test_docs.py.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes import ROOT
from tests.support.sessions import TIDEMILL, tidemill

EXAMPLE = ROOT / "examples" / "weather"
EVERY_HOUR = (("EWR", 8702, 1121), ("JFK", 8706, 890), ("LGA", 8706, 976))
"""Observations of each airport, less the one that is rejected, and millimetres of rain."""


@pytest.mark.timeout(600)
def test_later_runs_find_the_answers_of_the_first(tmp_path: Path) -> None:
    folder, state = tmp_path / "weather", tmp_path / "state"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("data"))
    manifest = folder / "pipeline.yaml"
    text = manifest.read_text(encoding="utf-8")
    assert text.count("every: 1m") == 1
    manifest.write_text(text.replace("every: 1m", "every: 2s"), encoding="utf-8")

    # make examples-data has fetched what it serves.
    command = [sys.executable, EXAMPLE / "api.py", TIDEMILL, "dev", folder, "--output", "json", "--data-dir", state]
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            [str(each) for each in command], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert server.stdout is not None
        ended: list[dict[str, Any]] = []
        try:
            for line in server.stdout:
                ended.append(json.loads(line))
                if len(ended) == 2:
                    break
        finally:
            server.send_signal(signal.SIGTERM)
            told, _ = server.communicate(timeout=120)
    said = (tmp_path / "log").read_text(encoding="utf-8")
    assert len(ended) == 2, said
    assert [(run["result"], run["rowsRead"], run["rowsLoaded"], run["rowsRejected"]) for run in ended] == [
        ("Succeeded", 26_115, 26_114, 1)
    ] * 2, said
    observations, stations = [line for line in told.splitlines() if line.startswith("/v1/")]
    assert observations == "/v1/observations: 27 sent, 0 not changed"
    sent, same = (int(word) for word in stations.split() if word.isdigit())
    assert (sent, same >= 1) == (1, True), stations

    query = "SELECT origin, count(*), round(sum(rain_mm)) FROM weather GROUP BY origin ORDER BY origin"
    shown = tidemill("psql", "--data-dir", state, "warehouse", "--csv", "-t", "-c", query)
    assert shown.code == 0, shown.stderr
    found = csv.reader(shown.stdout.splitlines())
    assert tuple((origin, int(count), int(rain)) for origin, count, rain in found) == EVERY_HOUR


def test_a_port_that_is_taken_is_said() -> None:
    api = [sys.executable, str(EXAMPLE / "api.py")]
    first = subprocess.Popen(
        [*api, sys.executable, "-c", "print('up', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "up\n"
    second = subprocess.run([*api, "true"], capture_output=True, text=True, check=False, env=os.environ)
    assert (second.returncode, second.stdout) == (1, "")
    assert "127.0.0.1:8313: Address already in use" in second.stderr
    told, _ = first.communicate("\n", timeout=60)
    assert first.returncode == 0
    assert told.splitlines() == ["/v1/observations: 0 sent, 0 not changed", "/v1/stations: 0 sent, 0 not changed"]
