"""Whether what a Secret holds can be certificates and a key at all. Pure.

What can't is told by the key of the Secret that is at fault. Else it would look like an outage: the SDK says of all of
them that it can't connect.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def problems(files: Mapping[str, bytes]) -> Iterator[str]:
    """What is wrong with `tls.crt`, `tls.key` and, if it is there, `ca.crt`: sentences without their content."""
    from cryptography.hazmat.primitives import serialization

    for name in ("ca.crt", "tls.crt"):
        if name in files and not _certificates(files[name]):
            yield f"its key {name} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
    try:
        key = serialization.load_pem_private_key(files["tls.key"], None)
    except TypeError:
        yield "its key tls.key holds an encrypted private key: store it without a passphrase"
    except Exception:  # noqa: BLE001 - ValueError, UnsupportedAlgorithm, or whatever a parser meets in garbage
        yield "its key tls.key holds no private key in PEM (-----BEGIN PRIVATE KEY-----)"
    else:
        found = _certificates(files["tls.crt"])
        if found and found[0].public_key() != key.public_key():
            yield "its key tls.key isn't the private key of the certificate in tls.crt"


def api_key_problem(text: str) -> str | None:
    """What is wrong with an API key; it travels as a header, which takes printable ASCII only."""
    if not text:
        return "is empty"
    if not text.isascii() or not text.isprintable() or " " in text:
        return "holds no API key: it has characters that none has"
    return None


@functools.lru_cache(maxsize=64)
def ends_at(data: bytes) -> float | None:
    """When the first certificate in PEM text ends, in seconds since 1970; None if there is none."""
    found = _certificates(data)
    return found[0].not_valid_after_utc.timestamp() if found else None


def _certificates(data: bytes) -> list[Certificate]:
    """Those in PEM text; none if it isn't that."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(data)
    except Exception:  # noqa: BLE001 - as above
        return []
