"""Where rows end in raw bytes.

A quote opens a quoted value only at the start of a field; within it, line breaks and delimiters are text and a doubled
quote is a quote. What follows a closing quote belongs to the value as it stands. So does Arrow read, and Python's
`csv`.
Nothing here looks at a byte from Python when a block is well formed: a regular expression without backtracking (RE2)
proves that a block ends where a row ends; only a block that isn't well formed is looked through field by field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from tidemill_worker.engine.dialect import Dialect

_TRIES = 4  # newlines that parity proposes, before the block is looked through exactly


@lru_cache(maxsize=64)
def _whole_rows(delimiter: bytes, quote: bytes, quoted_newlines: bool) -> str:
    """Pattern of any number of whole rows, each with its line break."""
    d, q = (re.escape(byte.decode()) for byte in (delimiter, quote))
    inside = rf"[^{q}]" if quoted_newlines else rf"[^{q}\r\n]"
    literal = rf"[^{q}{d}\r\n][^{d}\r\n]*"
    return rf"^(?:(?:{q}(?:{inside}|{q}{q})*{q}(?:{literal})?|{literal}|)[{d}\r\n])*$"


@lru_cache(maxsize=64)
def _quoted(delimiter: bytes, quote: bytes, quoted_newlines: bool) -> re.Pattern[bytes]:
    """Pattern of a quoted value; group 1 is empty if it isn't closed (in its line, or before the end).

    It begins with the quote itself, and looks back from there: so the bytes between quotes are passed over at once.
    """
    d, q = re.escape(delimiter), re.escape(quote)
    inside, end = (rb"[^" + q + rb"]", rb"\Z") if quoted_newlines else (rb"[^" + q + rb"\r\n]", rb"(?=[\r\n])|\Z")
    return re.compile(
        q + rb"(?<![^" + d + rb"\r\n]" + q + rb")(?:" + inside + rb"++|" + q + q + rb")*+(" + q + rb"|" + end + rb")"
    )


def whole_rows(data: bytes, length: int, dialect: Dialect) -> bool:
    """Whether the first `length` bytes, which end in a line break, are whole rows (they begin where a row begins)."""
    if data.find(dialect.quote, 0, length) < 0:
        return True
    offsets = pa.py_buffer(length.to_bytes(8, "little").rjust(16, b"\0"))
    text = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)])
    pattern = _whole_rows(dialect.delimiter, dialect.quote, dialect.quoted_newlines)
    return bool(pc.match_substring_regex(text, pattern)[0].as_py())


def last_border(data: bytes, dialect: Dialect) -> int:
    """Offset after the last whole row of `data`, which begins where a row begins; 0 if there is none."""
    newline = data.rfind(b"\n")
    if newline < 0:
        newline = data.rfind(b"\r", 0, len(data) - 1)  # not the very last byte: its \n may come
    if newline < 0 or not dialect.quoted_newlines or data.find(dialect.quote, 0, newline + 1) < 0:
        return newline + 1
    odd = data.count(dialect.quote, 0, newline + 1) & 1
    tries = 0
    while newline >= 0 and tries < _TRIES:
        if not odd:
            if whole_rows(data, newline + 1, dialect):
                return newline + 1
            tries += 1
        before = data.rfind(b"\n", 0, newline)
        odd ^= data.count(dialect.quote, before + 1, newline + 1) & 1
        newline = before
    found = scan(data, dialect)
    whole = found.ends if found.complete else found.ends[:-1]
    return whole[-1] if whole else 0


@dataclass(frozen=True, slots=True)
class Scan:
    """Rows as an exact look at every quoted value finds them."""

    ends: list[int]
    """Offset after each row, blank ones included."""
    complete: bool
    """The last row has its line break."""
    unclosed: list[int]
    """Offsets of quotes that open a value that isn't closed, ascending. With quoted newlines, at most one, and
    no row ends after it."""


def scan(data: bytes, dialect: Dialect) -> Scan:
    """Look through all quoted values of `data`, which begins where a row begins."""
    spans: list[tuple[int, int]] = []
    unclosed: list[int] = []
    for match in _quoted(dialect.delimiter, dialect.quote, dialect.quoted_newlines).finditer(data):
        if not match[1]:
            unclosed.append(match.start())
        if dialect.quoted_newlines and (data.find(b"\n", *match.span()) >= 0 or data.find(b"\r", *match.span()) >= 0):
            spans.append(match.span())
    ends = _line_ends(data)
    if spans:
        ends = _outside(ends, spans)
    complete = not data or (bool(ends) and ends[-1] == len(data))
    if not complete:
        ends.append(len(data))
    return Scan(ends, complete, unclosed)


def _line_ends(data: bytes) -> list[int]:
    """Offsets after each line break: CR LF, LF, or CR alone."""
    if data.count(b"\r") == data.count(b"\r\n"):
        return list(pc.add(newlines(data), 1).to_pylist())
    return [match.end() for match in re.finditer(rb"\r\n|\n|\r", data)]


def newlines(data: bytes) -> pa.Int64Array:
    """Offsets of all LF, ascending."""
    return pc.indices_nonzero(_equal(data, 10)).cast(pa.int64())


def line_breaks(data: bytes | memoryview) -> int:
    """How many LF; if there are none, how many CR. Other threads' Python runs meanwhile."""
    return int(_equal(data, 10).true_count or _equal(data, 13).true_count)


def _equal(data: bytes | memoryview, byte: int) -> pa.BooleanArray:
    values = pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)])
    return pc.equal(values, pa.scalar(byte, pa.uint8()))


def _outside(ends: list[int], spans: list[tuple[int, int]]) -> list[int]:
    """The ends that are in none of the spans (both ascending)."""
    kept = []
    place = 0
    for end in ends:
        while place < len(spans) and spans[place][1] < end:
            place += 1
        inside = place < len(spans) and (spans[place][0] < end <= spans[place][1])
        if not inside:
            kept.append(end)
    return kept
