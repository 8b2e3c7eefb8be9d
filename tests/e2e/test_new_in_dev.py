"""What `tidemill new` makes is loaded by `tidemill dev` at once, also with manifests from standard input."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.sessions import TIDEMILL, tidemill
from tidemill_cli.new.making import templates

pytestmark = pytest.mark.timeout(600)

LOADED = {"aggregate": (4, 7, 0), "csv-to-postgres": (5, 3, 2), "merge": (4, 3, 1), "replace": (3, 3, 0)}
"""Rows read, loaded and rejected of each template's sample data."""


def counts(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["result"], run["rowsRead"], run["rowsLoaded"], run["rowsRejected"]


def test_every_template_loads_its_sample(tmp_path: Path) -> None:
    assert set(LOADED) == set(templates())
    for template in LOADED:
        assert tidemill("new", template, tmp_path / template, "--namespace", f"of-{template}").code == 0
    ended = tidemill("dev", tmp_path, "--once", "--output", "json", "--data-dir", tmp_path / "state")
    assert ended.code == 0, ended.stderr
    assert {run["pipeline"]: counts(run) for run in ended.runs} == {
        template: ("Succeeded", *rows) for template, rows in LOADED.items()
    }
    tables = "SELECT count(*) FROM csv_to_postgres UNION ALL SELECT count(*) FROM replace "
    tables += "UNION ALL SELECT count(*) FROM aggregate_by_day"
    shown = tidemill("psql", "--data-dir", tmp_path / "state", "warehouse", "--csv", "-t", "-c", tables)
    assert shown.stdout.split() == ["3", "3", "3"]


def test_dev_takes_manifests_from_standard_input(tmp_path: Path) -> None:
    assert tidemill("new", "replace", tmp_path / "prices").code == 0
    done = subprocess.run(
        [TIDEMILL, "dev", "-f", "-", "--once", "--output", "json"],
        input=(tmp_path / "prices/pipeline.yaml").read_text(encoding="utf-8"),
        cwd=tmp_path / "prices",  # the tidemill.dev.yaml of this folder says where connections point
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run,) = (json.loads(each) for each in done.stdout.splitlines())
    assert counts(run) == ("Succeeded", 3, 3, 0)
