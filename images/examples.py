#!/usr/local/bin/python
"""`tidemill-examples DIR` copies the example's data to DIR/flights; without DIR it lists what the image holds."""

import shutil
import sys
from pathlib import Path

DATA = Path("/data")


def main() -> int:
    """Copy or list; returns the exit code."""
    match sys.argv[1:]:
        case []:
            for file in sorted(path for path in DATA.rglob("*") if path.is_file()):
                print(f"{file.relative_to(DATA)}  {file.stat().st_size} bytes")
        case [target] if Path(target).is_dir():
            for example in sorted(DATA.iterdir()):
                # With the files' own times: a run that goes on in another pod must find the files it was planned on.
                shutil.copytree(example, Path(target, example.name), copy_function=shutil.copy2, dirs_exist_ok=True)
                print(f"copied {example.name} to {target}")
        case _:
            print("tidemill-examples: give one folder that exists, such as /shared, or nothing", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
