"""From arguments to files, and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tidemill_cli.editor.schemas import FOLDER, schemas
from tidemill_cli.new.making import DEFAULT, NewError, make, templates


def new(words: Sequence[str], name: str | None, namespace: str) -> int:
    """`words` are the folder, or a template and the folder; none: list the templates. Gives the exit code."""
    if not words:
        width = max(map(len, templates()))
        for template, purpose in templates().items():
            print(f"{template.ljust(width)}  {purpose}")
        print(f"\nMake one: tidemill new [{DEFAULT}] DIR")
        return 0
    if len(words) > 2:
        print("tidemill new: at most a template and a folder: tidemill new [TEMPLATE] DIR", file=sys.stderr)
        return 2
    template, folder = (DEFAULT, *words) if len(words) == 1 else words
    if len(words) == 1 and folder in templates():
        print(f"tidemill new: {folder} is a template: name the folder too, tidemill new {folder} DIR", file=sys.stderr)
        return 2
    try:
        made = make(template, Path(folder), name, namespace)
    except NewError as error:
        print(f"tidemill new: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"tidemill new: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    for path in made:
        if FOLDER.name not in path.parts:
            print(path)
    print(f"{Path(folder) / FOLDER}/    for editors")
    print(f"\nNext:\n  tidemill preview {folder}\n  tidemill test {folder}\n  tidemill dev {folder} --once")
    return 0


def write_schemas(folder: Path) -> int:
    """Write the JSON Schemas into a folder, over those that are there. Gives the exit code."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in schemas().items():
            (folder / file).write_text(text, encoding="utf-8")
            print(folder / file)
    except OSError as error:
        print(f"tidemill schemas: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0
