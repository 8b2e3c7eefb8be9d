"""`docs/reference/schemas/`: JSON Schemas of the kinds and of test files, by which editors complete and check them."""

from __future__ import annotations

from tidemill_cli.editor.schemas import schemas

FOLDER = "docs/reference/schemas"


def files() -> dict[str, str]:
    """One file a kind, one that takes any of them, and that of test files."""
    return schemas()
