"""The coverage gate counts child processes, fails below its limit, and leaves pytest the last word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "pyproject.toml": """
[tool.coverage.run]
branch = true
parallel = true
sigterm = true
patch = ["subprocess"]
disable_warnings = ["module-not-imported", "module-not-measured", "no-data-collected"]
source_pkgs = ["measured", "unused"]
""",
    "measured.py": """
import sys

def here():
    return 1

def there():
    return 2

if len(sys.argv) > 1 and sys.argv[1] == "there":
    print(there())
""",
    "unused.py": "def never():\n    return 3\n",
    "test_it.py": """
import subprocess, sys, measured

def test_here_and_there(tmp_path):
    assert measured.here() == 1
    code = "import sys; sys.argv = ['x', 'there']; import measured"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
""",
}


@pytest.mark.parametrize(
    ("limit", "code", "verdict"), [("80", 0, "are reached"), ("99", 1, "are NOT reached, so this run fails")]
)
def test_the_gate(tmp_path: Path, limit: str, code: int, verdict: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    gate = ["-p", "tests.support.coverage_gate", f"--tidemill-coverage={limit}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), *gate, "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert re.search(r"unused.py +2 +1 ", done.stdout), "what nothing imported counts too"
    assert re.search(r"measured.py +7 +0 +2 +0 +100%", done.stdout), "complete, because the child's lines count"
    assert f"% asked for {verdict}" in done.stdout
    assert re.fullmatch(r"=+ 1 passed in [0-9.]+s =+", done.stdout.splitlines()[-1]), "pytest's own line is the last"
    assert (tmp_path / ".coverage").exists()
