"""The wheel holds the six parts, what functions of users import, and nothing else, and its command starts."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    *("tidemill_api", "tidemill_check", "tidemill_codec", "tidemill_operator", "tidemill_worker", "tidemill_cli"),
    "tidemill",
}


def test_the_wheel(tmp_path: Path) -> None:
    hatchling = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(hatchling, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("tidemill-*-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names if not name.startswith("tidemill-")}
    assert packages == PARTS
    assert {part for part in PARTS if f"{part}/py.typed" in names} == PARTS
    assert any(name.endswith("licenses/LICENSE") for name in names)
    templates = ROOT / "cli/src/tidemill_cli/templates"
    shipped = {name.removeprefix("tidemill_cli/templates/") for name in names if "/templates/" in name}
    made = {str(path.relative_to(templates)) for path in templates.rglob("*") if path.suffix in {".yaml", ".csv"}}
    assert made <= shipped, "`tidemill new` finds its templates in what is installed"
    # What is installed from it, and not from this repository, imports and starts.
    code = f"import sys; sys.path.insert(0, {str(wheel)!r}); import tidemill_cli.main as m; print(m.__file__)"
    started = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert started.stdout.startswith(str(wheel)), started.stderr
