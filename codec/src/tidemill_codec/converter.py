"""The data converter with encryption: payloads by a codec, messages and stacks of failures by their converter."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from tidemill_codec.cipher import Cipher
from tidemill_codec.folder import Keys


class EncryptingCodec(PayloadCodec):
    """Encrypts each payload; leaves those alone that aren't encrypted when it decrypts."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypted."""
        return [self._cipher.encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """As they were. Raises UnknownKey and Undecipherable."""
        return [self._cipher.decrypt(payload) for payload in payloads]


def encrypting(converter: DataConverter, keys: Keys | None, namespace: str) -> DataConverter:
    """The converter, with encryption for that Temporal namespace; as it is if there are no keys."""
    if keys is None:
        return converter
    return dataclasses.replace(
        converter,
        payload_codec=EncryptingCodec(Cipher(keys, namespace)),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
