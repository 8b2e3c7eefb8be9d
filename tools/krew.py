"""Pack `kubectl tidemill` for krew: an archive a platform, and the manifest that names them, in `dist/krew/`.

`make krew` does it. An archive holds the commands that need a cluster, the libraries that those need (from
`requirements.lock`, by hash) and a launcher; the machine gives kubectl and Python. One library is compiled, and lies
there once for each version of Python. The commands that need more (`lint`, `dev`, ...) say what to install.
Archives are reproducible: the same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
UV: Final = ROOT / ".venv" / "tools" / "bin" / "uv"
PLAIN: Final = (
    "annotated-doc",
    "annotated-types",
    "pydantic",
    "ruamel-yaml",
    "shellingham",
    "typer",
    "typing-extensions",
    "typing-inspection",
)
"""What the commands import, in pure Python: the same for all."""
COMPILED: Final = ("pydantic-core",)
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS: Final[Mapping[str, str]] = {
    "linux/amd64": "x86_64-manylinux_2_28",
    "linux/arm64": "aarch64-manylinux_2_28",
    "darwin/amd64": "x86_64-apple-darwin",
    "darwin/arm64": "aarch64-apple-darwin",
}
"""krew's names of platforms, and uv's."""
OURS: Final = ("cli/src/tidemill_cli", "api/src/tidemill_api")
HOME: Final = "https://tidemill.dev"
LAUNCHER: Final = '''#!/usr/bin/env python3
"""`kubectl tidemill`, as krew installs it: finds its libraries beside itself."""
import os
import sys

here = os.path.dirname(os.path.realpath(__file__))
compiled = os.path.join(here, "lib", "cp%d%d" % sys.version_info[:2])
if not os.path.isdir(compiled):
    names = sorted(name for name in os.listdir(os.path.join(here, "lib")) if name[:2] == "cp")
    known = ", ".join(name[2] + "." + name[3:] for name in names)
    sys.exit("kubectl tidemill needs a python3 of one of the versions %s on the PATH; this is %d.%d"
             % ((known,) + sys.version_info[:2]))
sys.path[:0] = [os.path.join(here, "lib", "all"), compiled]
from tidemill_cli.{module} import {function}

{function}()
'''
MANIFEST: Final = """# Made by `make krew`: krew's manifest of `kubectl tidemill`.
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: tidemill
spec:
  version: v{version}
  homepage: {home}
  shortDescription: Run, pause and look after data pipelines of Tidemill
  description: |
    Looks after DataPipelines and WorkerPools of Tidemill with your own rights in the cluster: status (what is wrong
    first), runs, run, rerun, pause, resume, cancel, logs, describe, explain.
  caveats: |
    Needs python3 ({pythons}) on the PATH.
    For completion of names: ln -s "$(dirname "$(realpath "$(command -v kubectl-tidemill)")")"/kubectl_complete-tidemill
    into a folder on the PATH.
  platforms:
"""
PLATFORM: Final = """  - selector:
      matchLabels:
        os: {os}
        arch: {arch}
    uri: {uri}
    sha256: {sha256}
    bin: kubectl-tidemill
    files:
    - from: "*"
      to: .
"""


def version() -> str:
    """The project's version."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(told["project"]["version"])


def pinned(names: Iterable[str], lock: str) -> str:
    """The entries of these distributions in the lock, with their hashes."""
    entries = {match[1]: match[0] for match in re.finditer(r"^([a-z0-9-]+)==(?:.*\\\n)*.*\n", lock, re.MULTILINE)}
    if missing := set(names) - entries.keys():
        raise SystemExit(f"krew: requirements.lock has no {', '.join(sorted(missing))}")
    return "".join(entries[name] for name in names)


def unpack(target: Path, requirements: str, *how: str) -> None:
    """Put distributions into a folder, by hash, whatever this machine is."""
    target.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "UV_FIND_LINKS"}}
    trusted = ssl.get_default_verify_paths()
    if trusted.cafile or trusted.capath:
        environment.setdefault("UV_SYSTEM_CERTS", "1")
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(requirements)
        file.flush()
        rules = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--link-mode", "copy", "--quiet")
        command = [str(UV), "pip", "install", *rules, *how, "--target", str(target), "-r", file.name]
        subprocess.run(command, check=True, env=environment)
    for folder in (target / "bin", *target.glob("*.dist-info")):
        if folder.name != "bin":
            _keep_licences(folder, target)
        shutil.rmtree(folder, ignore_errors=True)
    (target / ".lock").unlink(missing_ok=True)


def _keep_licences(metadata: Path, target: Path) -> None:
    for file in metadata.rglob("*"):
        if file.is_file() and file.name.upper().startswith(("LICENSE", "LICENCE", "NOTICE")):
            kept = target / "licences" / metadata.name.partition("-")[0] / file.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, kept)


def lay_out(folder: Path, platform: str) -> None:
    """All that the archive of a platform holds."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    everywhere = folder / "lib" / "all"
    unpack(everywhere, pinned(PLAIN, lock), "--python-version", PYTHONS[0], "--python-platform", PLATFORMS[platform])
    for python in PYTHONS:
        where = folder / "lib" / f"cp{python.replace('.', '')}"
        unpack(where, pinned(COMPILED, lock), "--python-version", python, "--python-platform", PLATFORMS[platform])
    for part in OURS:
        source = ROOT / part
        shutil.copytree(source, everywhere / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    about = everywhere / f"tidemill-{version()}.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: tidemill\nVersion: {version()}\n", encoding="utf-8")
    for name, module, function in (
        ("kubectl-tidemill", "main", "plugin"),
        ("kubectl_complete-tidemill", "completion", "main"),
    ):
        program = folder / name
        program.write_text(LAUNCHER.replace("{module}", module).replace("{function}", function), encoding="utf-8")
        program.chmod(0o755)
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")


def archive(folder: Path, file: Path) -> str:
    """The folder as a tar archive whose bytes depend on nothing else; its SHA-256."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = tarfile.TarInfo(str(path.relative_to(folder)))
            entry.size = path.stat().st_size
            entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            with path.open("rb") as content:
                tar.addfile(entry, content)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    return hashlib.sha256(file.read_bytes()).hexdigest()


def manifest(archives: Mapping[str, tuple[str, str]], base: str) -> str:
    """The manifest for krew: archives by platform, each with file name and SHA-256."""
    text = MANIFEST.format(version=version(), home=HOME, pythons=", ".join(PYTHONS))
    for platform, (name, sha256) in archives.items():
        system, _, machine = platform.partition("/")
        text += PLATFORM.format(os=system, arch=machine, uri=f"{base.rstrip('/')}/{name}", sha256=sha256)
    return text


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "krew")
    parser.add_argument("--platform", action="append", choices=PLATFORMS, help="all if not given")
    parser.add_argument("--url", default=f"{HOME}/releases/v{version()}", help="folder that the archives are put in")
    options = parser.parse_args(arguments)
    archives = {}
    for platform in options.platform or PLATFORMS:
        name = f"kubectl-tidemill_v{version()}_{platform.replace('/', '_')}.tar.gz"
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder), platform)
            archives[platform] = name, archive(Path(folder), options.out / name)
        print(f"krew: {options.out / name}, {(options.out / name).stat().st_size / 1e6:.1f} MB")
    (options.out / "tidemill.yaml").write_text(manifest(archives, options.url), encoding="utf-8")
    print(f"krew: {options.out / 'tidemill.yaml'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
