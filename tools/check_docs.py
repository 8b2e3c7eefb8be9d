"""What can be said of the docs without running them: links lead somewhere, commands are tested somewhere.

`make docs-check` (a part of `make check`) prints each fault with its document and line; `tests/e2e/test_docs.py` runs
the rest.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.documents import Block, blocks, key_words

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"(`+).*?\1")
_OUTSIDE = re.compile(r"[a-z]+:")
_HEADING = re.compile(r"#+\s+(.*)")
_FENCE = re.compile(r"\s*(```+|~~~+)")


def documents(root: Path) -> list[Path]:
    """All documents that people read: at the root and below docs and examples."""
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("examples/**/*.md")])


def problems(root: Path) -> list[str]:
    """Every fault of every document, as `path:line: what`."""
    found: list[str] = []
    for document in documents(root):
        name = document.relative_to(root)
        found += [f"{name}:{line}: {what}" for line, what in _dead_links(root, document)]
        for block in blocks(document):
            found += [f"{name}:{block.number}: {what}" for what in _untested(root, block)]
    return found


def _dead_links(root: Path, document: Path) -> Iterator[tuple[int, str]]:
    for number, line in _prose(document):
        for target in _LINK.findall(_CODE.sub("", line)):
            if _OUTSIDE.match(target):
                continue
            path, _, anchor = target.partition("#")
            file = document if not path else (document.parent / path).resolve()
            if not file.exists() or not file.is_relative_to(root):
                yield number, f"the link to {target} leads nowhere"
            elif anchor and file.suffix == ".md" and anchor not in anchors(file):
                yield number, f"the link to {target} leads to no heading of {file.name}"


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as the usual hosts of Markdown make them."""
    headings = (_HEADING.fullmatch(line.rstrip()) for _, line in _prose(document))
    plain = (re.sub(r"[^\w\- ]", "", heading[1].lower()) for heading in headings if heading)
    return {text.replace(" ", "-") for text in plain}


def _prose(document: Path) -> Iterator[tuple[int, str]]:
    """The lines outside of fenced blocks, with their numbers."""
    fence: str | None = None
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        opening = _FENCE.match(line)
        if fence is None and opening:
            fence = opening[1]
        elif fence is None:
            yield number, line
        elif line.strip() == fence:
            fence = None


def _untested(root: Path, block: Block) -> Iterator[str]:
    """What is wrong with a block that says where it is tested, or with its form."""
    try:
        commands = block.commands if block.language != "yaml" else ()
    except ValueError as error:
        yield str(error).partition(": ")[2]
        return
    if block.tested_by is None:
        return
    file = root / block.tested_by
    if not block.tested_by.startswith("tests/"):
        yield f"tested-by names {block.tested_by}, which is no test"
        return
    if not file.is_file():
        yield f"tested-by names {block.tested_by}, which doesn't exist"
        return
    text = file.read_text(encoding="utf-8")
    for command in commands:
        for line in command.line.replace("\\\n", " ").splitlines():
            words = key_words(line)
            missing = [word for word in words if word not in text]
            if line.strip() and not words:
                yield f"`{line}` has no word by which its test could be known"
            elif missing:
                yield f"{block.tested_by} doesn't mention {', '.join(missing)} of `{line}`"


def main() -> int:
    """The command line; returns the exit code."""
    found = problems(ROOT)
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
