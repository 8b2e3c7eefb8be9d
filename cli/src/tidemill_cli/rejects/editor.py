"""A row in a person's editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tidemill_cli.rejects.errors import RejectsError, UsageError


def assignments(texts: Sequence[str], option: str = "--set") -> dict[str, str]:
    """`column=value` texts. Raises UsageError."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {text}: write it as COLUMN=VALUE")
        if name in found:
            raise UsageError(f"{option} {text}: {name} is given twice")
        found[name] = value
    return found


def edited(text: str) -> str:
    """The text as the person leaves it, without the line break that editors add at the end. Raises RejectsError."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        raise RejectsError("there is no editor: set EDITOR, or use --set COLUMN=VALUE")
    with tempfile.TemporaryDirectory(prefix="tidemill-row-") as folder:
        file = Path(folder) / "row.txt"
        file.touch(mode=0o600)
        file.write_text(text + "\n", encoding="utf-8", newline="")
        try:
            code = subprocess.run([*shlex.split(command), str(file)], check=False).returncode
        except OSError as error:
            raise RejectsError(f"the editor {command} can't be started: {error.strerror}") from None
        if code != 0:
            raise RejectsError(f"the editor ended with {code}: nothing is changed")
        with file.open(encoding="utf-8", newline="") as stream:
            found = stream.read()
    return found.removesuffix("\n").removesuffix("\r")
