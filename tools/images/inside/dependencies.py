"""The layer of an image's dependencies: from the lock, hashes checked, without what nobody uses, compiled.

    python3 -m tools.images.inside.dependencies IMAGE FOLDER BELOW

BELOW is the runtime layer, whose files needn't be brought again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.images.inside import locked
from tools.images.inside.bytecode import compile_tree
from tools.images.inside.layer import Layer
from tools.images.inside.recipes import RECIPES, Recipe
from tools.images.inside.taken import strip, take_out

HOME = Path("/opt/tidemill")
"""The environment's place, in the stage as in the image."""
_PIP = Path("/tools/bin/pip")
_CERTIFICATES = Path("/run/ca.crt")
"""Certificates to trust instead of pip's own, where the build was given some."""


def main() -> int:
    """Install, thin out, collect."""
    image, folder, below = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    recipe = RECIPES[image]
    lock, pyproject = Path("requirements.lock").read_text("utf-8"), Path("pyproject.toml").read_text("utf-8")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", HOME], check=True)
    if recipe.programs:
        install(HOME, locked.only(lock, recipe.programs))
    else:
        install(HOME, locked.closure(lock, locked.roots_of(pyproject, recipe.extras)))
        pip(HOME, "check")
    packages = site_packages()
    take_out(packages, recipe.taken_out)
    strip(HOME)
    layer = Layer(folder, below)
    layer.add_tree(HOME, ("**/__pycache__", "bin/[aA]ctivate*", "include", "lib64", *_scripts(recipe)))
    for program in recipe.host_programs:
        layer.add(Path(program))
    layer.add_libraries()
    layer.add_package_records()
    for name, module in recipe.scripts:
        layer.write(f"{HOME}/bin/{name}", _script(module), mode=0o755)
    if recipe.more_packages:
        layer.write(f"{packages}/more-packages.pth", f"{recipe.more_packages}\n")
    compile_tree(folder / packages.relative_to("/"), folder)
    layer.finish(int(os.environ["SOURCE_DATE_EPOCH"]))
    return 0


def site_packages() -> Path:
    """Where the environment's packages are."""
    return HOME / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def install(environment: Path, requirements: str) -> None:
    """Install exactly these requirements into an environment without pip of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        # Wheels only: a source distribution's build would decide anew what is installed.
        options = ("--no-compile", "--no-deps", "--only-binary", ":all:", "--require-hashes")
        pip(environment, "install", "--quiet", *options, "--requirement", file.name)


def pip(environment: Path, *arguments: str) -> None:
    """The stage's pip, working on an environment."""
    command = [str(_PIP), "--python", str(environment / "bin" / "python"), *arguments]
    own = {"PIP_CERT": str(_CERTIFICATES)} if _CERTIFICATES.exists() else {}
    subprocess.run(command, check=True, env={**os.environ, **own, "PIP_ROOT_USER_ACTION": "ignore"})


def _scripts(recipe: Recipe) -> tuple[str, ...]:
    """Commands of packages: nobody calls them, unless the image is made of programs."""
    kept = ("python*", "temporal") if recipe.programs else ("python*",)
    found = {entry.name for entry in (HOME / "bin").iterdir()}
    wanted = {entry.name for pattern in kept for entry in (HOME / "bin").glob(pattern)}
    return tuple(f"bin/{name}" for name in sorted(found - wanted))


def _script(module: str) -> str:
    return f'#!{HOME}/bin/python\nimport runpy\n\nrunpy.run_module("{module}", run_name="__main__", alter_sys=True)\n'


if __name__ == "__main__":
    sys.exit(main())
