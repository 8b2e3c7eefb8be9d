"""The pictures in `docs/examples`: Mermaid below a line `<!-- graph: PATH -->` is what `tidemill graph PATH` says.

All else on these pages is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path

from tidemill_cli.graph.command import Options, drawn

FOLDER = "docs/examples"
SHARED = True
_ROOT = Path(__file__).resolve().parents[2]
_PICTURE = re.compile(r"(<!-- graph: (\S+) -->\n)```mermaid\n.*?```\n", re.DOTALL)


def files() -> dict[str, str]:
    """Each page, with its pictures as the manifests are now."""
    return {page.name: redrawn(page.read_text(encoding="utf-8")) for page in sorted((_ROOT / FOLDER).glob("*.md"))}


def redrawn(page: str) -> str:
    """A page with its pictures drawn anew; the paths are those of the repository."""

    def draw(found: re.Match[str]) -> str:
        return f"{found[1]}```mermaid\n{drawn(Options((_ROOT / found[2],)))}```\n"

    return _PICTURE.sub(draw, page)
