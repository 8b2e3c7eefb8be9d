"""`python -m tests.bench [--quick] [NAME...]`: one JSON object a line on stdout, progress on stderr.

Each module `bench_NAME.py` here has `async def measure(quick: bool) -> AsyncIterator[Measurement]`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import time
import traceback
from pathlib import Path

from tests.bench.measurement import say

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """All benchmarks."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


async def run(chosen: list[str], quick: bool) -> bool:
    """Run them one after another; false if one failed (the others run all the same)."""
    good = True
    for name in chosen:
        say(f"bench {name}")
        began = time.monotonic()
        try:
            async for measurement in importlib.import_module(f"tests.bench.bench_{name}").measure(quick):
                print(measurement.to_json(), flush=True)
        except Exception:  # noqa: BLE001 - one benchmark that fails must not take the others' results away
            traceback.print_exc()
            good = False
        say(f"bench {name}: {time.monotonic() - began:.0f} s")
    return good


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="the measurements that matter most, in a few minutes")
    parser.add_argument("names", nargs="*", help=f"which ones (all: {', '.join(names())})")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in names()]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names())}")
    return 0 if asyncio.run(run(options.names or names(), options.quick)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
