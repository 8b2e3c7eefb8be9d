"""The layer of our own code: the wheel of this source tree, as far as the image needs it, compiled.

python3 -m tools.images.inside.parts IMAGE FOLDER WHEEL
"""

from __future__ import annotations

import csv
import io
import os
import sys
import zipfile
from pathlib import Path

from tools.images.inside.bytecode import compile_tree
from tools.images.inside.dependencies import site_packages
from tools.images.inside.layer import Layer
from tools.images.inside.recipes import RECIPES


def main() -> int:
    """Unpack what belongs to the image."""
    image, folder, wheel = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    target = folder / site_packages().relative_to("/")
    packages = RECIPES[image].packages
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if wanted(name, packages)]
        for name in names:
            archive.extract(name, target)
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        rows = [row for row in csv.reader(io.StringIO(archive.read(record).decode())) if row and row[0] in names]
    with (target / record).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    compile_tree(target, folder)
    Layer(folder).finish(int(os.environ["SOURCE_DATE_EPOCH"]))
    return 0


def wanted(name: str, packages: tuple[str, ...]) -> bool:
    """Whether the image needs a file of the wheel; commands aren't there without the command line's part."""
    if ".dist-info/" in name:
        return not name.endswith("/entry_points.txt")
    return any(name == package or name.startswith(f"{package}/") for package in packages)


if __name__ == "__main__":
    sys.exit(main())
