"""Make everything that is made from the models: `crds/` and `docs/reference/`.

`python tools/generate.py [--out DIR]` writes below DIR (the repository, if not given) and removes what it no longer makes.
The same models give the same bytes.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tidemill_api.schema import crd
from tidemill_api.v1alpha1 import GROUP, KINDS

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("crds", "docs/reference")
"""Folders that hold generated files only."""


def manifests() -> dict[str, str]:
    """The CRDs, by their path."""
    return {f"crds/{GROUP}_{kind.served.plural}.yaml": _yaml(crd(kind)) for kind in KINDS}


def generated() -> dict[str, str]:
    """Every generated file: its path in the repository and its text."""
    return manifests()


def write(out: Path) -> None:
    """Write what is generated below `out`, and nothing else is left in the generated folders."""
    files = generated()
    for path, text in files.items():
        file = out / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    for folder in FOLDERS:
        for file in (out / folder).rglob("*"):
            if file.is_file() and file.relative_to(out).as_posix() not in files:
                file.unlink()


def _yaml(document: dict[str, Any]) -> str:
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(document, text)
    return "---\n" + text.getvalue()


def main(arguments: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT, help="folder to write below (default: the repository)")
    write(parser.parse_args(arguments).out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
