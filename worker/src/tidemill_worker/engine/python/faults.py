"""Exceptions of users' functions as errors of ours: what kind, where in their code, and their own words.

An exception's message may quote a row: `int("a private value")` does. So it is told only if the function raised it by a
`raise` of its own, whose words its author chose; else it is told to nobody but whoever runs it on his own machine.
"""

from __future__ import annotations

import dis
import traceback
from types import FrameType
from typing import Final

import tidemill
from tidemill_api.errors import PythonFailed, PythonUnavailable, TidemillError

LONGEST: Final = 500
"""Characters of an author's message that are told."""
_FRAMES: Final = 5


def fault(who: str, entrypoint: str, error: BaseException) -> TidemillError:
    """What a run ends with."""
    if isinstance(error, TidemillError):
        return error
    if isinstance(error, tidemill.Unavailable):
        return PythonUnavailable(who, f"{entrypoint}: {_short(str(error)) or 'not available'}")
    package = entrypoint.partition(":")[0].partition(".")[0]
    kind, words = type(error).__name__, str(error)
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _of(frame, package)]
    places = [f"{frame.f_globals['__name__']}:{line} in {frame.f_code.co_name}" for frame, line in frames[-_FRAMES:]]
    if isinstance(error, SyntaxError):
        places.append(f"line {error.lineno} of {error.filename}")
    said = f": {_short(words)}" if words and _is_the_authors(error, package) else ""
    where = f" (at {', '.join(places)})" if places else ""
    return PythonFailed(who, f"{entrypoint} raised {kind}{said}{where}", "" if said else f"{kind}: {words}")


def _of(frame: FrameType, package: str) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == package


def _is_the_authors(error: BaseException, package: str) -> bool:
    """Whether a `raise` (or an `assert` with a message) in the author's code made it, or what he calls of ours."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or not (_of(last.tb_frame, package) or _of(last.tb_frame, tidemill.__name__)):
        return False
    code = last.tb_frame.f_code
    return any(each.offset == last.tb_lasti and each.opname == "RAISE_VARARGS" for each in dis.get_instructions(code))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
