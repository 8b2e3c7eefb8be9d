"""The data converter with encryption: payloads by a codec, messages and stacks of failures by their converter."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from tidemill_api.errors import EncryptionError
from tidemill_codec.cipher import Cipher
from tidemill_codec.folder import Keys

_log: Final = logging.getLogger(__name__)
_SAID_AGAIN_AFTER: Final = 60.0


class EncryptingCodec(PayloadCodec):
    """Encrypts each payload; leaves those alone that aren't encrypted when it decrypts."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher
        self._said: dict[str, float] = {}

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypted."""
        return [self._cipher.encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """As they were. Raises UnknownKey and Undecipherable."""
        try:
            return [self._cipher.decrypt(payload) for payload in payloads]
        except EncryptionError as error:
            self._say(str(error))
            raise

    def _say(self, trouble: str) -> None:
        """Log what the SDK tells nobody but Temporal; each sentence once a minute, since everything is tried again."""
        now = time.monotonic()
        if now - self._said.get(trouble, -_SAID_AGAIN_AFTER) >= _SAID_AGAIN_AFTER:
            self._said[trouble] = now
            _log.error("%s", trouble)


def encrypting(converter: DataConverter, keys: Keys | None, namespace: str) -> DataConverter:
    """The converter, with encryption for that Temporal namespace; as it is if there are no keys."""
    if keys is None:
        return converter
    return dataclasses.replace(
        converter,
        payload_codec=EncryptingCodec(Cipher(keys, namespace)),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
