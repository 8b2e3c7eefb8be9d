"""The fenced blocks of a Markdown document, as far as they can be tested: what to run and what it should print."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

_TESTED_BY = re.compile(r"<!--\s*tested-by:\s*(\S+)\s*-->")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_WORD = re.compile(r"[a-z][a-z0-9_-]*")
TESTED_LANGUAGES = frozenset({"console", "sh", "yaml"})


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a block and the lines it is shown to print (none: anything)."""

    line: str
    prints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it stands, its language and text, and the file that tests it, if that isn't its own run."""

    document: Path
    number: int
    """Line of the opening fence, counted from 1."""
    language: str
    text: str
    tested_by: str | None = None

    @property
    def commands(self) -> tuple[Command, ...]:
        """What to run: each `$ ` line of a console block with its output, a whole `sh` block as one."""
        if self.language == "sh":
            return (Command(self.text),)
        commands: list[Command] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                commands.append(Command(line.removeprefix("$ ")))
            elif commands and commands[-1].line.endswith("\\"):
                commands[-1] = Command(commands[-1].line + "\n" + line.removeprefix("> "))
            elif commands:
                commands[-1] = Command(commands[-1].line, (*commands[-1].prints, line))
            else:
                raise ValueError(f"{self.document}:{self.number}: a console block begins with a line `$ command`")
        return tuple(commands)


def blocks(document: Path) -> tuple[Block, ...]:
    """All fenced blocks of a document that are tested (console, sh, yaml), in their order."""
    found: list[Block] = []
    fence = language = tested_by = None
    start = 0
    content: list[str] = []
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        stripped = line.strip()
        if fence is None:
            if opening := re.match(r"(```+|~~~+)\s*(\S*)", stripped):
                fence, language, start, content = opening[1], opening[2], number, []
            elif named := _TESTED_BY.fullmatch(stripped):
                tested_by = named[1]
            elif stripped:
                tested_by = None
        elif stripped == fence:
            if language in TESTED_LANGUAGES:
                found.append(Block(document, start, language, "\n".join(content), tested_by))
            fence = tested_by = None
        else:
            content.append(line)
    return tuple(found)


def key_words(command: str) -> tuple[str, ...]:
    """The words by which a test of a command is known: those before its first option, path or assignment.

    Assignments before the program itself are its environment.

    >>> key_words("make test PYTEST_ARGS=-x")
    ('make', 'test')
    >>> key_words("KEEP=1 make test-cluster")
    ('make', 'test-cluster')
    >>> key_words(".venv/bin/tidemill dev examples/flights --once")
    ('tidemill', 'dev')
    """
    words: list[str] = []
    tokens = shlex.split(command, comments=True)
    for index, token in enumerate(dropwhile(_ASSIGNMENT.match, tokens)):
        word = token.rpartition("/")[2] if index == 0 else token
        if not _WORD.fullmatch(word):
            break
        words.append(word)
    return tuple(words)


def matches(printed: str, shown: tuple[str, ...]) -> bool:
    r"""Whether a command printed what the document shows; `...` stands for anything, also over lines.

    >>> matches("a 17 ms\nb\n", ("a ... ms", "b"))
    True
    >>> matches("a\nc\nb\n", ("a", "...", "b"))
    True
    >>> matches("a\n\n", ("a", "..."))
    True
    >>> matches("a\n", ("b",))
    False
    """
    if not shown:
        return True
    pattern = ".*?".join(re.escape(part) for part in "\n".join(shown).split("..."))
    return any(re.fullmatch(pattern, text, re.DOTALL) for text in (printed.rstrip("\n"), printed))
