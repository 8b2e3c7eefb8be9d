"""An entry as bytes: what it is worth, how long it is fresh, encrypted where payloads are. Bound to its key.

Lines: `tidemill1`, the key's id (empty: not encrypted), then nonce and ciphertext, or a checksum and the plain bytes,
of: until when it is fresh (seconds since 1970), the seconds that computing took, and the value.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tidemill_codec.ring import KeyRing

_MAGIC: Final = b"tidemill1"
_NONCE: Final = 12

Seal = Callable[[], "KeyRing | None"]
"""The key ring as it is now; None: nothing is encrypted."""


class Garbage(Exception):
    """No entry of ours, or not of this key, or encrypted with a key that isn't in the ring."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was computed."""

    value: bytes
    fresh_until: float
    """Seconds since 1970."""
    seconds: float
    """So long computing took."""


def packed(entry: Entry, key: str, seal: Seal) -> bytes:
    """As bytes, that can't be taken for another key's."""
    plain = b"%.3f\n%.6f\n" % (entry.fresh_until, entry.seconds) + entry.value
    ring = seal()
    if ring is None:
        return b"\n".join((_MAGIC, b"", _checksum(plain, key) + plain))
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE)
    sealed = AESGCM(ring.keys[ring.active]).encrypt(nonce, plain, key.encode())
    return b"\n".join((_MAGIC, ring.active.encode(), nonce + sealed))


def unpacked(data: bytes, key: str, seal: Seal) -> Entry:
    """The inverse. Raises Garbage. Where entries are encrypted, one that isn't is garbage too."""
    magic, _, rest = data.partition(b"\n")
    key_id, found, body = rest.partition(b"\n")
    if magic != _MAGIC or not found:
        raise Garbage
    until, _, rest = _opened(key_id, body, key, seal).partition(b"\n")
    seconds, _, value = rest.partition(b"\n")
    try:
        return Entry(value, float(until), float(seconds))
    except ValueError:
        raise Garbage from None


def _opened(key_id: bytes, body: bytes, key: str, seal: Seal) -> bytes:
    ring = seal()
    if ring is None:
        plain = body[len(_checksum(b"", key)) :]
        if key_id or body != _checksum(plain, key) + plain:
            raise Garbage
        return plain
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    secret = ring.keys.get(key_id.decode(errors="replace"))
    if secret is None:
        raise Garbage
    try:
        return AESGCM(secret).decrypt(body[:_NONCE], body[_NONCE:], key.encode())
    except (InvalidTag, ValueError):
        raise Garbage from None


def _checksum(plain: bytes, key: str) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + plain).digest()
