"""Secrets of a TemporalConnection that hold no certificate, key or API key: a verdict that names the key."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from tidemill_api.conditions import INVALID_SECRET, WAITING_FOR_CONNECTION, WAITING_FOR_RIGHTS
from tidemill_operator.clients import Object, RefusedError
from tidemill_operator.connection.certificates import api_key_problem, problems
from tidemill_operator.connection.resolve import resolve_manifest, resolver
from tidemill_operator.store import MemoryStore
from tidemill_operator.views import ConnectionPendingError


@cache
def pair(name: str = "client", passphrase: str = "") -> dict[str, str]:
    """A self-signed certificate and its key, as the Secret holds them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    sealed: KeySerializationEncryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return {
        "tls.crt": certificate.public_bytes(Encoding.PEM).decode(),
        "tls.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed).decode(),
    }


CASES: dict[str, tuple[dict[str, str], list[str]]] = {
    "a pair": (pair(), []),
    "with its authority": ({**pair(), "ca.crt": pair("ca")["tls.crt"]}, []),
    "a chain": ({**pair(), "tls.crt": pair()["tls.crt"] + pair("ca")["tls.crt"]}, []),
    "garbage for a key": ({**pair(), "tls.key": "hush-hush"}, ["tls.key holds no private key"]),
    "the certificate twice": ({**pair(), "tls.key": pair()["tls.crt"]}, ["tls.key holds no private key"]),
    "cut off": ({**pair(), "tls.key": pair()["tls.key"][:100]}, ["tls.key holds no private key"]),
    "garbage for a certificate": ({**pair(), "tls.crt": "hush-hush"}, ["tls.crt holds no certificate"]),
    "garbage for an authority": ({**pair(), "ca.crt": "hush-hush"}, ["ca.crt holds no certificate"]),
    "all of it": (
        {"ca.crt": "", "tls.crt": "hush-hush", "tls.key": "hush-hush"},
        ["ca.crt holds no certificate", "tls.crt holds no certificate", "tls.key holds no private key"],
    ),
    "another one's key": (
        {**pair(), "tls.key": pair("other")["tls.key"]},
        ["isn't the private key of the certificate"],
    ),
    "a passphrase": (pair("sealed", "hush-hush"), ["store it without a passphrase"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_with_certificates(name: str) -> None:
    files, expected = CASES[name]

    found = list(problems({key: text.encode() for key, text in files.items()}))

    assert len(found) == len(expected)
    assert all(words in sentence for words, sentence in zip(expected, found, strict=True))
    assert "hush" not in "".join(found)


@pytest.mark.parametrize(
    ("text", "good"),
    [("abc.DEF-1_2==", True), ("", False), ("two words", False), ("a\nb", False), ("schlüssel", False)],
)
def test_what_is_no_api_key(text: str, *, good: bool) -> None:
    assert (api_key_problem(text) is None) == good


class Secrets:
    """The API server's Secret `s`."""

    def __init__(self, data: dict[str, str]) -> None:
        self._data = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        assert (kind, namespace, name) == ("Secret", "travel", "s")
        return {"data": self._data}


@pytest.mark.parametrize(
    ("spec", "data", "words"),
    [
        (
            {"tls": {"secretRef": {"name": "s"}}},
            {**pair(), "tls.key": "hush"},
            "spec.tls.secretRef: the Secret s: its key",
        ),
        (
            {"apiKey": {"secretKeyRef": {"name": "s", "key": "token"}}},
            {"token": "hush hush"},
            "spec.apiKey.secretKeyRef: the key token of the Secret s holds no API key",
        ),
    ],
)
async def test_the_verdict_names_field_secret_and_key(spec: Object, data: dict[str, str], words: str) -> None:
    metadata = {"name": "own", "namespace": "travel", "uid": "u", "resourceVersion": "1"}
    manifest: Object = {"metadata": metadata, "spec": {"address": "t:7233", **spec}}

    with pytest.raises(ConnectionPendingError) as verdict:
        await resolve_manifest(manifest, Secrets(data))

    assert verdict.value.reason == INVALID_SECRET
    assert words in str(verdict.value)
    assert "hush" not in str(verdict.value)

    store = MemoryStore()
    store.put("TemporalConnection", manifest)
    with pytest.raises(ConnectionPendingError) as waiting:
        await resolver(Secrets(data), store)(("travel", "own"))
    assert waiting.value.reason == WAITING_FOR_CONNECTION
    assert str(waiting.value) == f"the TemporalConnection own: {verdict.value}"


class Forbidden:
    """An API server that doesn't let the operator read the Secret."""

    def __init__(self, code: int = 403) -> None:
        self._code = code

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        raise RefusedError(self._code, "Forbidden", f"{kind.lower()}s {name!r} in {namespace} is forbidden")


async def test_a_secret_that_mayn_t_be_read_says_which_value_grants_it() -> None:
    metadata = {"name": "own", "namespace": "travel", "uid": "u", "resourceVersion": "1"}
    manifest: Object = {"metadata": metadata, "spec": {"address": "t:7233", "tls": {"secretRef": {"name": "s"}}}}
    with pytest.raises(ConnectionPendingError) as verdict:
        await resolve_manifest(manifest, Forbidden())

    assert verdict.value.reason == WAITING_FOR_RIGHTS
    assert "spec.tls.secretRef: the operator may not read the Secret s" in str(verdict.value)
    assert "rbac.temporalConnectionSecrets" in str(verdict.value)

    store = MemoryStore()
    store.put("TemporalConnection", manifest)
    with pytest.raises(ConnectionPendingError) as waiting:
        await resolver(Forbidden(), store)(("travel", "own"))
    assert waiting.value.reason == WAITING_FOR_RIGHTS, "a right that is missing isn't a credential that is gone"
    with pytest.raises(RefusedError):
        await resolve_manifest(manifest, Forbidden(422))
