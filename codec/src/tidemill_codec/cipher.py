"""One payload of Temporal's, encrypted: AES-256-GCM, a random 96-bit nonce, key id and namespace as associated data.

metadata  encoding               binary/encrypted
          encryption-key-id      id of the key
          encryption-algorithm   aes-256-gcm.1
data      nonce (12 bytes), then the ciphertext of the whole payload (protobuf, its metadata too) with its tag
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload

from tidemill_api.errors import Undecipherable, UnknownKey
from tidemill_codec.folder import Keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENCODING: Final = b"binary/encrypted"
ALGORITHM: Final = b"aes-256-gcm.1"
KEY_ID: Final = "encryption-key-id"
ALGORITHM_KEY: Final = "encryption-algorithm"
_NONCE: Final = 12


class Cipher:
    """Encrypts and decrypts payloads of one Temporal namespace."""

    def __init__(self, keys: Keys, namespace: str) -> None:
        """`keys` are asked at each call, so that a changed ring counts at once."""
        self._keys = keys
        self._namespace = namespace

    @property
    def writes(self) -> str:
        """Id of the key that encrypts now."""
        return self._keys.ring().active

    def encrypt(self, payload: Payload) -> Payload:
        """The payload, encrypted. One that is encrypted already stays as it is."""
        if is_encrypted(payload):
            return payload
        ring = self._keys.ring()
        nonce = os.urandom(_NONCE)
        sealed = _aead(ring.keys[ring.active]).encrypt(nonce, payload.SerializeToString(), self._bound(ring.active))
        return Payload(
            metadata={"encoding": ENCODING, KEY_ID: ring.active.encode(), ALGORITHM_KEY: ALGORITHM},
            data=nonce + sealed,
        )

    def decrypt(self, payload: Payload) -> Payload:
        """The payload as it was before; one that isn't encrypted stays as it is, from before encryption was on.

        Raises:
            UnknownKey: The ring doesn't hold the key.
            Undecipherable: The key doesn't fit, or it is encrypted in a way that isn't ours.
        """
        if not is_encrypted(payload):
            return payload
        key_id = key_of(payload) or ""
        if payload.metadata.get(ALGORITHM_KEY) != ALGORITHM:
            raise Undecipherable(f"a payload is encrypted with an algorithm other than {ALGORITHM.decode()}")
        key = self._keys.key(key_id)
        if key is None:
            raise UnknownKey(
                f"a payload is encrypted with the key {key_id!r}, which isn't in the key ring: "
                "put it back, it needn't be the active one"
            )
        from cryptography.exceptions import InvalidTag

        nonce, sealed = payload.data[:_NONCE], payload.data[_NONCE:]
        try:
            return Payload.FromString(_aead(key).decrypt(nonce, sealed, self._bound(key_id)))
        except (InvalidTag, ValueError, DecodeError):
            raise Undecipherable(
                f"a payload doesn't fit the key {key_id!r}: the ring holds another key by that name, the payload is "
                f"of another Temporal namespace than {self._namespace!r}, or it was changed"
            ) from None

    def _bound(self, key_id: str) -> bytes:
        """What is authenticated beside the payload: no part can hold a zero byte, so no two of them read the same."""
        return b"\x00".join((ALGORITHM, self._namespace.encode(), key_id.encode()))


def is_encrypted(payload: Payload) -> bool:
    """Whether a payload says that it is encrypted."""
    return payload.metadata.get("encoding") == ENCODING


def key_of(payload: Payload) -> str | None:
    """Id of the key that a payload is encrypted with; None if it isn't."""
    if not is_encrypted(payload):
        return None
    return payload.metadata.get(KEY_ID, b"").decode(errors="replace")


@lru_cache(maxsize=64)
def _aead(key: bytes) -> AESGCM:
    """Kept: setting up a key costs more than encrypting a small payload."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # most processes have no key

    return AESGCM(key)
