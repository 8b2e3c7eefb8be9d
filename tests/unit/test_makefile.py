"""The targets that documents name and no test can run, for they run the tests: they are there, and do what is said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("tests/unit", "tests/integration", "tests/e2e")


def commands(target: str) -> str:
    """What `make TARGET` would run."""
    asked = ["make", "--dry-run", "--no-print-directory", target]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("target", "runs"),
    [
        ("test", ("ruff check", "mypy", "tools/generate.py --check", "--tidemill-coverage=85", " ".join(PARTS))),
        ("test-unit", ("pytest tests/unit",)),
        ("test-integration", ("pytest tests/integration",)),
        ("test-e2e", ("pytest tests/e2e",)),
        ("test-cluster", ("pytest tests/e2e/cluster",)),
        ("check", ("ruff format --check", "lint-imports", "mypy", "pyright", "tools/check_docs.py")),
        ("fmt", ("ruff format",)),
        ("generate", ("tools/generate.py",)),
        ("sync", ("tools/sync.py",)),
        ("envtest", ("tools/envtest.py", "tools/prometheus.py")),
        ("test-slow", ("pytest",)),
        ("lock", ("pip compile",)),
        ("bench", ("tests.bench",)),
        ("bench-quick", ("tests.bench --quick",)),
    ],
)
def test_a_target_runs_what_it_says(target: str, runs: tuple[str, ...]) -> None:
    would = commands(target)
    assert [each for each in runs if each not in would] == []


def test_ci_runs_everything() -> None:
    assert "make --no-print-directory test\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
