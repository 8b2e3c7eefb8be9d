"""The chart as a file: `lint`, `dist` (the packed chart and the raw CRDs), `keep` (pack it as one to upgrade from).

`make check` lints if Helm is built already; the tests build it (`python3 tools/envtest.py helm helm3`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.envtest import ensure, folder_for, missing

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "tidemill"
HELMS = ("helm", "helm3")
# What must be given where no cluster is looked into.
GIVEN = ("--set=installationId=lint", "--set=encryption.existingSecret=ring")
KEPT = ROOT / "tests" / "golden" / "charts"


def lint() -> None:
    """Both Helms' own opinion, strictly; nothing if they aren't built."""
    folder = folder_for(HELMS)
    if absent := missing(folder, HELMS):
        print(f"chart: not linted, {' and '.join(absent)} not built yet (make test builds it)")
        return
    for program in HELMS:
        subprocess.run([folder / program, "lint", "--strict", "--quiet", CHART, *GIVEN], check=True)


def pack(target: Path) -> None:
    """The chart as Helm packs it, into a folder."""
    helm = ensure(("helm",)) / "helm"
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run([helm, "package", CHART, "--destination", target], check=True)


def crds(target: Path) -> None:
    """All CRDs in one file, for `kubectl apply`."""
    parts = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "crds").glob("*.yaml"))]
    target.write_text("".join(parts), encoding="utf-8")
    print(f"CRDs in {target.relative_to(ROOT)}")


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("lint", "dist", "keep"))
    try:
        match parser.parse_args(arguments).what:
            case "lint":
                lint()
            case "dist":
                pack(ROOT / "dist")
                crds(ROOT / "dist" / "crds.yaml")
            case _:
                pack(KEPT)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
