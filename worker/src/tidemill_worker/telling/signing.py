"""Signatures of what is sent, as the specification Standard Webhooks (1.0) has them. Pure.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from tidemill_api.errors import ConfigError

_PREFIX: Final = "whsec_"
"""A key that begins so is base64 behind it; any other is taken as it is."""


def signed(message_id: str, moment: float, body: bytes, key: str | None) -> dict[str, str]:
    """The headers that say which message it is, when it was sent (Unix time), and that we did. No key: no signature.

    Raises ConfigError for a key that isn't one.
    """
    timestamp = str(int(moment))
    headers = {"webhook-id": message_id, "webhook-timestamp": timestamp}
    if key is not None:
        content = b".".join((message_id.encode(), timestamp.encode(), body))
        digest = hmac.new(_key(key), content, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _key(text: str) -> bytes:
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"the signing key begins with {_PREFIX}, but isn't base64 behind it") from None
