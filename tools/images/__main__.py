"""`python -m tools.images [NAME ...]`: build images, or do nothing where they are built already."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import time

from tools.debian import PackagesError
from tools.images import archive, base, sizes, spdx
from tools.images.catalog import NAMES, OUTPUT, Image, images
from tools.images.engine import BuildError, Engine, engine, say


def main() -> int:
    """Entry point of `make images`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.images", description="Build the images.")
    parser.add_argument("--docs", action="store_true", help="and write their sizes into docs/reference/images.md")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(NAMES)}; all if not given")
    try:
        asked = parser.parse_args()
        wanted = images(asked.names)
        OUTPUT.mkdir(parents=True, exist_ok=True)
        with (OUTPUT / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tool = engine(os.environ.get("CONTAINER_TOOL"))
            python = os.environ.get("PYTHON_IMAGE") or ("" if tool.name == "docker" else base.ensure(tool))
            for image in wanted:
                ensure(image, tool, python)
        if asked.docs:
            sizes.PAGE.write_text(sizes.page(images()), encoding="utf-8")
    except (BuildError, PackagesError, ValueError) as error:
        say(str(error))
        return 1
    return 0


def ensure(image: Image, tool: Engine, python: str) -> None:
    """Have the image in the engine's storage and its archive in the cache."""
    key = image.key(tool.name, python)
    if image.archive.exists() and image.record.exists() and image.record.read_text(encoding="utf-8") == key:
        if not tool.has(image.reference):
            say(f"{image.name}: loading it into {tool.name} from {image.archive.name}")
            tool.load(image)
        say(f"{image.name}: nothing has changed")
        return
    began = time.monotonic()
    say(f"{image.name}: building it with {tool.name}")
    image.record.unlink(missing_ok=True)
    tool.build(image, {"PYTHON_IMAGE": python} if python else {})
    fresh = image.archive.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    tool.save(image, fresh)
    found = archive.read(fresh)
    image.contents.write_text(spdx.document(image, found), encoding="utf-8")
    weight = sizes.weigh(found)
    sizes.keep(image, weight)
    fresh.replace(image.archive)
    took = f"built in {time.monotonic() - began:.0f} s"
    say(f"{image.name}: {took}, {weight.compressed / sizes.MB:.1f} MB compressed, {weight.size / sizes.MB:.1f} MB not")
    if faults := sizes.too_heavy(image, weight):
        raise BuildError("; ".join(faults))
    image.record.write_text(key, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
