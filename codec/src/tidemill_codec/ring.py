"""The key ring: a folder with a file for each key (`<id>`, base64 of 32 bytes) and `active`, the id that writes.

It is what a mounted Secret looks like. Keys never appear in a repr, a message or a log; their ids do.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tidemill_api.errors import KeyRingInvalid

ACTIVE: Final = "active"
KEY_BYTES: Final = 32
_ID: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_LONGEST: Final = 4096
"""Bytes that an entry may have: one that is longer is something else, put there by mistake."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by id, and the id of the one that writes. Made by `ring_of` and `read_ring`, which check it."""

    keys: Mapping[str, bytes] = field(repr=False)
    active: str

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all keys, sorted."""
        return tuple(sorted(self.keys))

    def key(self, key_id: str) -> bytes | None:
        """The 32 bytes of a key."""
        return self.keys.get(key_id)

    def entries(self) -> dict[str, str]:
        """As the folder has it: file names and their text. Secret."""
        written = {key_id: base64.b64encode(key).decode() for key_id, key in self.keys.items()}
        return {**dict(sorted(written.items())), ACTIVE: self.active}


def ring_of(entries: Mapping[str, str], where: str) -> KeyRing:
    """A ring from its entries (a Secret's data, decoded); `where` is named in errors.

    Raises:
        KeyRingInvalid: An entry isn't what it must be; the message names it, never its value.
    """
    keys = {key_id: _key(key_id, text, where) for key_id, text in sorted(entries.items()) if key_id != ACTIVE}
    if not keys:
        raise KeyRingInvalid(f"{where}: there is no key; `tidemill keys new` makes a ring")
    seen: dict[bytes, str] = {}
    for key_id, key in keys.items():
        if key in seen:
            raise KeyRingInvalid(f"{where}: {seen[key]} and {key_id} are the same key: each id needs a key of its own")
        seen[key] = key_id
    if ACTIVE not in entries:
        raise KeyRingInvalid(f"{where}: there is no entry `active`: it names the key that writes ({_listed(keys)})")
    active = entries[ACTIVE].strip()
    if active not in keys:
        named = f"names {active!r}" if _ID.fullmatch(active) else "doesn't hold the id of a key"
        raise KeyRingInvalid(f"{where}: `active` {named}, but the keys here are {_listed(keys)}")
    return KeyRing(keys, active)


def read_ring(folder: Path) -> KeyRing:
    """The ring in a folder. What begins with a dot (a mounted Secret's own files) is left out.

    Raises:
        KeyRingInvalid: There is no such folder, or it isn't a ring.
    """
    try:
        files = [file for file in folder.iterdir() if not file.name.startswith(".") and file.is_file()]
        return ring_of({file.name: _text(file) for file in files}, str(folder))
    except OSError as error:
        raise KeyRingInvalid(f"{error.filename or folder}: can't be read: {error.strerror}") from None


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        found = opened.read(_LONGEST + 1)
    if len(found) > _LONGEST:
        raise KeyRingInvalid(f"{file}: is longer than any key")
    return found.decode("ascii", errors="replace")


def _key(key_id: str, text: str, where: str) -> bytes:
    if not _ID.fullmatch(key_id):
        raise KeyRingInvalid(
            f"{where}: {key_id!r} is no id of a key: write 1 to 63 of a-z, 0-9, '-' and '.', such as k20260101"
        )
    right = f"must be {KEY_BYTES} random bytes in base64, such as `openssl rand -base64 {KEY_BYTES}` prints"
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise KeyRingInvalid(f"{where}: the key {key_id} isn't base64: it {right}") from None
    if len(key) != KEY_BYTES:
        raise KeyRingInvalid(f"{where}: the key {key_id} has {len(key)} bytes: it {right}")
    if len(set(key)) < 8:
        raise KeyRingInvalid(f"{where}: the key {key_id} isn't random: it {right}")
    return key


def _listed(keys: Mapping[str, bytes]) -> str:
    return ", ".join(keys)
