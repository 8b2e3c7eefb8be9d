"""Taking out of installed packages what no code opens: files by pattern, and symbols of native libraries."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path


def take_out(packages: Path, patterns: Iterable[str]) -> None:
    """Remove what matches, and its lines from the packages' records, so that these tell what is there."""
    for pattern in patterns:
        for found in sorted(packages.glob(pattern)):
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            elif found.exists():
                found.unlink()
    for record in sorted(packages.glob("*.dist-info/RECORD")):
        with record.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row and (packages / row[0]).exists()]
        with record.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def strip(root: Path) -> None:
    """Drop debugging and local symbols from native libraries; what other libraries and Python look up stays."""
    for library in sorted(path for pattern in ("*.so", "*.so.*") for path in root.rglob(pattern)):
        if library.is_file() and not library.is_symlink():
            subprocess.run(["strip", "--strip-unneeded", str(library)], check=True)
