"""Make everything that is generated, or say whether it is in step with the code.

`make generate` writes; `make verify` (`--check`) compares what would be written with what is there, in memory, and
names every file that differs, is missing, or lies in a generated folder without being generated (tracked or not).
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_SHOWN_LINES = 20


@dataclass(frozen=True)
class Generated:
    """What one generator makes: a folder, and the text of each file in it. All else there is stray, unless shared."""

    folder: str
    files: dict[str, str]
    shared: bool = False
    """Files of other origin are in the folder too."""


def generators() -> Iterator[Generated]:
    """What each module of `tools/generators` makes, in the order of their names."""
    sys.path.insert(0, str(ROOT))
    package = importlib.import_module("tools.generators")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda each: each.name):
        generator = importlib.import_module(f"tools.generators.{module.name}")
        yield Generated(generator.FOLDER, generator.files(), getattr(generator, "SHARED", False))


def write(root: Path, generated: Generated) -> list[str]:
    """Bring the folder to exactly the generated files; returns the paths that changed."""
    folder = root / generated.folder
    changed = []
    for name, text in generated.files.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            changed.append(f"{generated.folder}/{name}")
    for stray in _strays(folder, generated):
        stray.unlink()
        changed.append(f"{generated.folder}/{stray.relative_to(folder)} (removed)")
    return changed


def differences(root: Path, generated: Generated) -> list[str]:
    """What would change, in words; empty when the folder is in step."""
    folder = root / generated.folder
    found = []
    for name, text in generated.files.items():
        path = f"{generated.folder}/{name}"
        file = folder / name
        if not file.exists():
            found.append(f"{path} is missing")
            continue
        there = file.read_text(encoding="utf-8")
        if there != text:
            lines = difflib.unified_diff(there.splitlines(), text.splitlines(), path, "generated", n=1, lineterm="")
            found.append(f"{path} differs:\n" + "\n".join(list(lines)[:_SHOWN_LINES]))
    found += [
        f"{generated.folder}/{stray.relative_to(folder)} is not generated" for stray in _strays(folder, generated)
    ]
    return found


def _strays(folder: Path, generated: Generated) -> list[Path]:
    if generated.shared:
        return []
    expected = {folder / name for name in generated.files}
    return sorted(file for file in folder.glob("**/*") if file.is_file() and file not in expected)


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if anything is out of step")
    parser.add_argument("--out", type=Path, default=ROOT, help="folder to write below (default: the repository)")
    options = parser.parse_args(arguments)
    if options.check:
        found = [line for generated in generators() for line in differences(options.out, generated)]
        for line in found:
            print(f"verify: {line}")
        if found:
            print("verify: generated files are out of step with the code: run `make generate` and commit the result")
        return 1 if found else 0
    for generated in generators():
        for path in write(options.out, generated):
            print(f"generate: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
