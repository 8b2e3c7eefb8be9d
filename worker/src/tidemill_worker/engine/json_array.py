"""A JSON array as JSON Lines: its elements one a line, as they stand but for line breaks, while it is read.

Only where elements begin and end is looked at; whether they are JSON is seen when the lines are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tidemill_api.errors import SourceUnreadable
from tidemill_worker.engine.blocks import Read

_AT_ONCE: Final = 1 << 20
_IN_STRING = rb'(?:[^"\\]++|\\.)*+'
_TOKEN: Final = re.compile(rb'\{(?:[^"{}\[\]]++|"' + _IN_STRING + rb'")*+\}|"' + _IN_STRING + rb'"|[][{},"]', re.DOTALL)
"""An object of plain values at once, a text, or a single sign; a lone quote opens a text that goes on."""
_REST_OF_STRING: Final = re.compile(_IN_STRING, re.DOTALL)
_LINE_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")
_BLANK: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"


def lines_of_array(read: Read, label: str) -> Iterator[bytes]:
    """The elements of the array that `read` gives, each with a line break after it, in pieces of any size.

    Raises SourceUnreadable if there is no array, it isn't closed, or something follows it.
    """
    array = _Array(label)
    begun = False
    while more := read(_AT_ONCE):
        yield array.more(more if begun else more.removeprefix(_BOM))
        begun = True
    yield array.end()


class _Array:
    """Where in the array reading is."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._depth = 0
        """0 before and after the array, 1 between elements."""
        self._done = False
        self._in_text = False
        self._rest = b""
        """A backslash whose other half is still to come."""

    def more(self, data: bytes) -> bytes:
        """What the next bytes of the file become."""
        data = (self._rest + data).translate(_LINE_BREAKS)
        self._rest = b""
        found: list[bytes] = []
        place = self._text(data, 0, found) if self._in_text else 0
        while place < len(data):
            token = _TOKEN.search(data, place)
            self._plain(data[place : token.start() if token else len(data)], found)
            if token is None:
                break
            place = token.end()
            if token[0] == b'"':
                self._inside(token[0])
                found.append(b'"')
                self._in_text = True
                place = self._text(data, place, found)
            else:
                self._sign(token[0], found)
        return b"".join(found)

    def end(self) -> bytes:
        """What is left at the end of the file."""
        if not self._done:
            raise SourceUnreadable(
                f"{self._label} isn't one whole JSON array: it ends before the array does"
                if self._depth
                else f"{self._label} holds no JSON array; files of one object a line are files.format.jsonLines"
            )
        return b""

    def _text(self, data: bytes, place: int, found: list[bytes]) -> int:
        """The rest of a text that goes on; where it ends, or the end of the data."""
        match = _REST_OF_STRING.match(data, place)
        assert match is not None
        end = match.end()
        if end < len(data) and data[end : end + 1] == b'"':
            self._in_text = False
            found.append(data[place : end + 1])
            return end + 1
        found.append(data[place:end])
        self._rest = data[end:]
        return len(data)

    def _plain(self, between: bytes, found: list[bytes]) -> None:
        if self._depth > 1:
            found.append(between)
        elif between.strip(_BLANK):
            self._inside(between)
            found.append(between.strip(_BLANK))

    def _sign(self, token: bytes, found: list[bytes]) -> None:
        if self._depth == 1 and token == b",":
            found.append(b"\n")
        elif self._depth == 1 and token == b"]":
            self._depth, self._done = 0, True
            found.append(b"\n")
        elif self._depth == 0 and token == b"[" and not self._done:
            self._depth = 1
        else:
            self._inside(token)
            found.append(token)
            if token in b"[{":
                self._depth += 1
            elif token in b"]}":
                self._depth -= 1

    def _inside(self, token: bytes) -> None:
        if self._depth == 1 and token == b"}":
            raise SourceUnreadable(f"{self._label} isn't one JSON array: it closes what isn't open")
        if self._depth == 0:
            raise SourceUnreadable(
                f"{self._label} isn't one JSON array: something follows it"
                if self._done
                else f"{self._label} holds no JSON array; files of one object a line are files.format.jsonLines"
            )
