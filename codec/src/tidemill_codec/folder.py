"""The key ring in use, read again when its folder changes: a mounted Secret is renewed while the process runs."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from tidemill_api.errors import KeyRingInvalid
from tidemill_api.names import KEYS_VARIABLE, SETTLE_VARIABLE
from tidemill_codec.ring import KeyRing, read_ring

SETTLE: Final = 120.0
"""Within so many seconds the kubelet of every node has given a changed Secret to its pods."""
_LOOK: Final = 1.0

_log: Final = logging.getLogger(__name__)
_Mark = tuple[tuple[str, int, int, int], ...]


class Keys(Protocol):
    """Where the cipher gets its keys."""

    def ring(self) -> KeyRing:
        """The ring to encrypt with."""
        ...

    def key(self, key_id: str) -> bytes | None:
        """A key to decrypt with; None if it isn't there now."""
        ...


class FixedKeys:
    """A ring that doesn't change."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def ring(self) -> KeyRing:
        """The ring."""
        return self._ring

    def key(self, key_id: str) -> bytes | None:
        """A key of it."""
        return self._ring.key(key_id)


class KeyFolder:
    """The ring in a folder. Looks for a change at most once a second; a folder that is wrong changes nothing.

    A key reads as soon as it is there. It writes `settle` seconds later than this process has first seen it, for
    other processes may not have it yet. Keys that the process has found when it started write at once. Thread-safe.
    """

    def __init__(self, folder: Path, settle: float = SETTLE, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises KeyRingInvalid if the folder holds no ring."""
        self._folder = folder
        self._settle = settle
        self._clock = clock
        self._lock = threading.Lock()
        self._mark = _mark(folder)
        self._found = read_ring(folder)
        self._writes = self._found.active
        self._seen: dict[str, float] = dict.fromkeys(self._found.keys, -float("inf"))
        self._looked = clock()
        self._trouble = ""

    def ring(self) -> KeyRing:
        """The ring to encrypt with: `active` is the key that writes now."""
        with self._lock:
            if self._clock() - self._looked >= _LOOK:
                self._look()
            self._writes = self._writer()
            return KeyRing(self._found.keys, self._writes)

    def declared(self) -> KeyRing:
        """The ring as the folder has it, for whoever hands it on."""
        self.ring()
        return self._found

    def key(self, key_id: str) -> bytes | None:
        """A key to decrypt with. One that isn't known is looked for in the folder at once."""
        known = self.ring().key(key_id)
        if known is None:
            with self._lock:
                self._look()
                known = self._found.key(key_id)
        return known

    def _writer(self) -> str:
        wished, before = self._found.active, self._writes
        settled = self._clock() - self._seen[wished] >= self._settle
        return wished if settled or before not in self._found.keys else before

    def _look(self) -> None:
        self._looked = self._clock()
        mark = _mark(self._folder)
        if mark == self._mark:
            return
        try:
            found = read_ring(self._folder)
        except KeyRingInvalid as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                _log.warning("the former key ring stays in use: %s", error)
            return
        self._mark, self._trouble = mark, ""
        if found == self._found:
            return
        self._found = found
        self._seen = {key_id: self._seen.get(key_id, self._looked) for key_id in found.keys}
        _log.info("the key ring has changed: keys %s, of which %s writes", ", ".join(found.ids), found.active)


def keys_of(environment: Mapping[str, str] = os.environ) -> KeyFolder | None:
    """The ring that the environment names; None if it names none: then nothing is encrypted.

    Raises:
        KeyRingInvalid: There is no ring in that folder, or SETTLE_VARIABLE is no number of seconds.
    """
    folder = environment.get(KEYS_VARIABLE, "")
    if not folder:
        return None
    text = environment.get(SETTLE_VARIABLE) or str(SETTLE)
    try:
        settle = float(text)
    except ValueError:
        settle = -1.0
    if not 0 <= settle <= 86_400:
        raise KeyRingInvalid(f"{SETTLE_VARIABLE}: {text!r} is no number of seconds from 0 to 86400")
    return KeyFolder(Path(folder), settle)


def _mark(folder: Path) -> _Mark:
    """What changes when the folder does. A mount changes all its files by one rename of the link `..data`."""
    marks = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=not entry.name.startswith("."))
                marks.append((entry.name, found.st_ino, found.st_mtime_ns, found.st_size))
    except OSError:  # just being replaced; reading it will say what is wrong
        return ()
    return tuple(sorted(marks))
