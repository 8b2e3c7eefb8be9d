"""Make `.venv` from `requirements.lock`, or do nothing when it is already that.

Run by `make sync` with whatever Python 3.11 or later the machine has; uses the standard library only,
because nothing is installed yet.  Two callers at once are safe: the second waits, then finds the work done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
BOOTSTRAP = ROOT / "tools" / "bootstrap.txt"
TOOLS = VENV / "tools"
STAMP = VENV / ".tidemill-sync"
MINIMUM = (3, 11)


def fingerprint() -> str:
    """A hash of all that decides what `.venv` holds: the locks, the project's metadata, the interpreter, this file."""
    import tomllib

    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    editable = {
        "project": pyproject["project"],
        "build-system": pyproject["build-system"],
        "hatch": pyproject["tool"]["hatch"],
        "python": sys.version_info[:2],
    }
    digest = hashlib.sha256()
    digest.update(LOCK.read_bytes())
    digest.update(BOOTSTRAP.read_bytes())
    digest.update(Path(__file__).read_bytes())
    digest.update(json.dumps(editable, sort_keys=True).encode())
    return digest.hexdigest()


def run(*command: str | Path) -> None:
    """Run a command of the set-up; its output is the user's, its failure ends the set-up."""
    environment = {
        # A machine's private wheel folder must not decide what we install.
        name: value
        for name, value in os.environ.items()
        if name not in {"PIP_FIND_LINKS", "UV_FIND_LINKS", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    }
    environment["VIRTUAL_ENV"] = str(VENV)
    trusted = ssl.get_default_verify_paths()
    if trusted.cafile or trusted.capath:
        # uv brings certificates of its own; a machine behind a proxy of its own trusts more than those.
        environment.setdefault("UV_SYSTEM_CERTS", "1")
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, env=environment)


def install() -> None:
    """Bring `.venv` to exactly what the lock says, with the project itself installed editable."""
    python = VENV / "bin" / "python"
    if not python.exists():
        print("sync: creating .venv", flush=True)
        run(sys.executable, "-m", "venv", VENV)
    print("sync: installing uv (pinned by hash)", flush=True)
    # uv is no part of the lock (it installs the lock), so it lives where `pip sync` prunes nothing.
    shutil.rmtree(TOOLS, ignore_errors=True)
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--require-hashes", "--target", TOOLS, "-r", BOOTSTRAP)
    uv = TOOLS / "bin" / "uv"
    print("sync: installing requirements.lock", flush=True)
    # Compiled here once, so that no process pays for it at its start, even where Python may not write bytecode.
    run(uv, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode", LOCK)
    run(uv, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", ROOT)


def main() -> int:
    """Entry point of `make sync`; returns the exit code."""
    if sys.version_info < MINIMUM:
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"sync: Python 3.11 or later is needed, {sys.executable} is {found}; try `make sync PYTHON=python3.12`")
        return 1
    if not LOCK.exists():
        print("sync: requirements.lock is missing; `make lock` makes it")
        return 1
    lock = (ROOT / ".venv.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    wanted = fingerprint()
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted:
        return 0
    STAMP.unlink(missing_ok=True)
    try:
        install()
    except subprocess.CalledProcessError as failure:
        print(f"sync: `{' '.join(failure.cmd)}` ended with {failure.returncode}; see its message above")
        return 1
    STAMP.write_text(wanted, encoding="utf-8")
    print("sync: .venv is ready", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
