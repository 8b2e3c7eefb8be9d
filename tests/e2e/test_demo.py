"""`make demo-dev`: what it promises to show."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.kubernetes import ROOT


@pytest.mark.timeout(600)
def test_the_demo_shows_what_was_loaded_and_what_was_rejected(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "demo-dev", f"DEMO_DIR={tmp_path / 'demo'}"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "335,596" in done.stdout
    assert "United Air Lines Inc." in done.stdout
    assert "{landed}" in done.stdout
    assert "NA" in done.stdout.partition("What was rejected")[2], (
        "the original rows are shown as they stand in the file"
    )
