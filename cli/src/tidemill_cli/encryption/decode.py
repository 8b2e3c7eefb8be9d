"""Payloads within JSON, decrypted: histories as Temporal's programs print them, single payloads, anything.

A payload is an object with `metadata.encoding` and maybe `data`, all in base64.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from temporalio.api.common.v1 import Payload

from tidemill_api.errors import ConfigError, EncryptionError
from tidemill_cli.encryption.rings import read
from tidemill_codec.cipher import Cipher
from tidemill_codec.folder import FixedKeys

_ATTRIBUTES: Final = ("encodedAttributes", "encoded_attributes")
_MESSAGE: Final = (("message", "message"), ("stack_trace", "stackTrace"))


class Decoder:
    """Decrypts what it finds. What it can't stays as it is; `troubles` say why, each once."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher
        self.troubles: dict[str, int] = {}

    def value(self, found: Any) -> Any:
        """The JSON with all payloads as what they hold."""
        match found:
            case dict() if (payload := payload_of(found)) is not None:
                return self._opened(payload, found)
            case dict():
                return self._with_message({name: self.value(held) for name, held in found.items()})
            case list():
                return [self.value(each) for each in found]
            case _:
                return found

    def _opened(self, payload: Payload, found: dict[str, Any]) -> Any:
        try:
            return readable(self._cipher.decrypt(payload))
        except EncryptionError as error:
            self.troubles[str(error)] = self.troubles.get(str(error), 0) + 1
            return found

    @staticmethod
    def _with_message(failure: dict[str, Any]) -> dict[str, Any]:
        """A failure whose message and stack were in its encoded attributes."""
        name = next((name for name in _ATTRIBUTES if name in failure), None)
        attributes = failure.get(name) if name is not None else None
        if name is None or not isinstance(attributes, dict) or "message" not in attributes:
            return failure
        rest = {field: held for field, held in failure.items() if field not in (name, "message", "stackTrace")}
        return {**{field: attributes[said] for said, field in _MESSAGE if attributes.get(said)}, **rest}


def payload_of(found: dict[str, Any]) -> Payload | None:
    """A payload that stands as JSON; None if the object is something else."""
    metadata = found.get("metadata")
    if not isinstance(metadata, dict) or "encoding" not in metadata or found.keys() - {"metadata", "data"}:
        return None
    try:
        return Payload(
            metadata={name: base64.b64decode(text, validate=True) for name, text in metadata.items()},
            data=base64.b64decode(found.get("data") or "", validate=True),
        )
    except (binascii.Error, TypeError, ValueError):
        return None


def payload_json(payload: Payload) -> dict[str, Any]:
    """A payload as Temporal writes it in JSON."""
    metadata = {name: base64.b64encode(held).decode() for name, held in payload.metadata.items()}
    data = {"data": base64.b64encode(payload.data).decode()} if payload.data else {}
    return {"metadata": metadata, **data}


def readable(payload: Payload) -> Any:
    """What a payload holds, if that is JSON or nothing; else the payload."""
    match payload.metadata.get("encoding"):
        case b"json/plain" | b"json/protobuf":
            try:
                return json.loads(payload.data)
            except ValueError:
                return payload_json(payload)
        case b"binary/null":
            return None
        case _:
            return payload_json(payload)


def decode_file(file: Path, keys: Path, namespace: str) -> int:
    """Decode a file (or stdin) to stdout; returns the exit code.

    Raises:
        ConfigError: The file isn't JSON, or there is no key ring.
    """
    decoder = Decoder(Cipher(FixedKeys(read(keys)), namespace))
    for value in _documents(file):
        sys.stdout.write(json.dumps(decoder.value(value), indent=2, ensure_ascii=False) + "\n")
    for trouble, count in decoder.troubles.items():
        sys.stderr.write(f"tidemill decode: {count} of the payloads: {trouble}\n")
    return 1 if decoder.troubles else 0


def _documents(file: Path) -> Iterable[Any]:
    """One JSON document, or one a line (`--output jsonl`)."""
    name = "stdin" if str(file) == "-" else str(file)
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{name}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: is no text in UTF-8") from None
    try:
        return [json.loads(text)]
    except ValueError as error:
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()] or _refuse(name, error)
        except ValueError:
            return _refuse(name, error)


def _refuse(name: str, error: ValueError) -> list[Any]:
    raise ConfigError(f"{name}: is no JSON: {error}") from None
