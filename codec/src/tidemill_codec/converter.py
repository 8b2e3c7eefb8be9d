"""The data converter with encryption: payloads by a codec, messages and stacks of failures by their converter."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from tidemill_api.errors import EncryptionError, UnknownKey
from tidemill_codec.cipher import Cipher, key_of
from tidemill_codec.folder import Keys

_log: Final = logging.getLogger(__name__)
_SAID_AGAIN_AFTER: Final = 60.0


class Codec(PayloadCodec):
    """Encrypts each payload; leaves those alone that aren't encrypted when it decrypts.

    Without a cipher it encrypts nothing, and says what is missing when it is to decrypt: the SDK alone would call it
    an encoding that it doesn't know, which nobody could tell from a fault.
    """

    def __init__(self, cipher: Cipher | None) -> None:
        self._cipher = cipher
        self._said: dict[str, float] = {}

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypted, if there is a cipher."""
        return [self._cipher.encrypt(payload) for payload in payloads] if self._cipher is not None else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """As they were. Raises UnknownKey and Undecipherable."""
        try:
            return [self._decrypted(payload) for payload in payloads]
        except EncryptionError as error:
            self._say(str(error))
            raise

    def _decrypted(self, payload: Payload) -> Payload:
        if self._cipher is not None:
            return self._cipher.decrypt(payload)
        if (key := key_of(payload)) is not None:
            raise UnknownKey(f"a payload is encrypted with the key {key!r}, and there is no key ring here")
        return payload

    def _say(self, trouble: str) -> None:
        """Log what the SDK tells nobody but Temporal; each sentence once a minute, since everything is tried again."""
        now = time.monotonic()
        if now - self._said.get(trouble, -_SAID_AGAIN_AFTER) >= _SAID_AGAIN_AFTER:
            self._said[trouble] = now
            _log.error("%s", trouble)


def encrypting(converter: DataConverter, keys: Keys | None, namespace: str) -> DataConverter:
    """The converter, with encryption for that Temporal namespace; without keys it only tells what it can't read."""
    if keys is None:
        return dataclasses.replace(converter, payload_codec=Codec(None))
    return dataclasses.replace(
        converter,
        payload_codec=Codec(Cipher(keys, namespace)),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
