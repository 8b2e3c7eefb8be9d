"""Payloads as the operator writes and reads them: JSON, encrypted if there is a key ring.

What says whose a Schedule or a run is stays readable without a key: a listing of all is read every few seconds, and
nothing in it is worth hiding (names and uids of Kubernetes objects, which the ids show too).
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure

from tidemill_api.errors import EncryptionError, UnknownKey
from tidemill_codec.cipher import Cipher, key_of
from tidemill_codec.folder import Keys

_JSON: Final = {"encoding": b"json/plain"}


class Sealing:
    """Encrypts and decrypts for one Temporal namespace; without keys it does neither."""

    def __init__(self, keys: Keys | None = None, namespace: str = "") -> None:
        self._cipher = Cipher(keys, namespace) if keys is not None else None

    def seal(self, value: object) -> Payload:
        """A value as JSON, encrypted."""
        payload = plain(value)
        return self._cipher.encrypt(payload) if self._cipher is not None else payload

    def value(self, payload: Payload) -> Any:
        """A JSON payload's value; None if it isn't JSON (somebody else's). Raises EncryptionError."""
        if self._cipher is not None:
            payload = self._cipher.decrypt(payload)
        elif (key := key_of(payload)) is not None:
            raise UnknownKey(f"it is encrypted with the key {key!r}, and the operator was given no keys")
        if payload.metadata.get("encoding") != _JSON["encoding"]:
            return None
        try:
            return orjson.loads(payload.data)
        except orjson.JSONDecodeError:
            return None

    def proof(self, payload: Payload) -> str:
        """What a payload says, to be compared: its text, or a hash of it while it can't be read."""
        try:
            value = self.value(payload)
        except EncryptionError:
            value = None
        return value if isinstance(value, str) else hashlib.sha256(payload.data).hexdigest()

    def message(self, failure: Failure) -> str:
        """The sentence of a failure. Raises EncryptionError."""
        if failure.HasField("encoded_attributes"):
            attributes = self.value(failure.encoded_attributes)
            if isinstance(attributes, dict) and isinstance(attributes.get("message"), str):
                return str(attributes["message"])
        return failure.message


def plain(value: object) -> Payload:
    """A value as JSON that everybody can read."""
    return Payload(metadata=_JSON, data=orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
