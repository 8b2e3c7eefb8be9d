"""Payloads, encrypted and back; and all that must not decrypt."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from tests.support.keys import new_key
from tidemill_api.errors import Undecipherable, UnknownKey
from tidemill_codec.cipher import ALGORITHM_KEY, KEY_ID, Cipher, key_of
from tidemill_codec.converter import encrypting
from tidemill_codec.folder import FixedKeys
from tidemill_codec.ring import ring_of

K1, K2 = new_key(), new_key()
PAYLOAD = Payload(metadata={"encoding": b"json/plain"}, data=b'"the secret parameter"')

payloads = st.builds(
    Payload, metadata=st.dictionaries(st.text(max_size=9), st.binary(max_size=20), max_size=3), data=st.binary()
)


def cipher(namespace: str = "default", **entries: str) -> Cipher:
    return Cipher(FixedKeys(ring_of(entries or {"k1": K1, "active": "k1"}, "test")), namespace)


@given(payloads)
def test_what_is_encrypted_reads_as_before(payload: Payload) -> None:
    assert cipher().decrypt(cipher().encrypt(payload)) == payload


def test_nothing_of_the_payload_is_seen() -> None:
    sealed = cipher().encrypt(PAYLOAD)

    assert b"secret" not in sealed.SerializeToString()
    assert b"json/plain" not in sealed.SerializeToString()
    assert (sealed.metadata["encoding"], key_of(sealed)) == (b"binary/encrypted", "k1")


def test_no_two_look_alike() -> None:
    nonces = {cipher().encrypt(PAYLOAD).data[:12] for _ in range(1000)}

    assert len(nonces) == 1000


def test_any_changed_byte_is_noticed() -> None:
    sealed = cipher().encrypt(PAYLOAD)
    for place in range(len(sealed.data)):
        changed = bytearray(sealed.data)
        changed[place] ^= 1
        with pytest.raises(Undecipherable, match="doesn't fit the key 'k1'"):
            cipher().decrypt(Payload(metadata=sealed.metadata, data=bytes(changed)))


@given(st.integers(min_value=0, max_value=60))
def test_a_cut_payload_is_noticed(length: int) -> None:
    sealed = cipher().encrypt(PAYLOAD)

    with pytest.raises(Undecipherable):
        cipher().decrypt(Payload(metadata=sealed.metadata, data=sealed.data[: min(length, len(sealed.data) - 1)]))


@pytest.mark.parametrize(
    ("reader", "error", "says"),
    [
        (cipher("other"), Undecipherable, "another Temporal namespace than 'other'"),
        (cipher(k1=K2, active="k1"), Undecipherable, "the ring holds another key by that name"),
        (cipher(k2=K2, active="k2"), UnknownKey, "encrypted with the key 'k1', which isn't in the key ring: put it"),
    ],
    ids=["another namespace", "another key by that name", "a key that is gone"],
)
def test_a_reader_that_may_not_read(reader: Cipher, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as refused:
        reader.decrypt(cipher().encrypt(PAYLOAD))
    assert not any(key in str(refused.value) for key in (K1, K2))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({KEY_ID: b"k2"}, Undecipherable),
        ({KEY_ID: b"k3"}, UnknownKey),
        ({KEY_ID: b""}, UnknownKey),
        ({KEY_ID: b"\xff"}, UnknownKey),
        ({ALGORITHM_KEY: b"aes-256-gcm.2"}, Undecipherable),
        ({ALGORITHM_KEY: b""}, Undecipherable),
    ],
    ids=str,
)
def test_changed_metadata_is_noticed(change: dict[str, bytes], error: type[Exception]) -> None:
    sealed = cipher().encrypt(PAYLOAD)

    with pytest.raises(error):
        cipher(k1=K1, k2=K2, active="k1").decrypt(
            Payload(metadata={**dict(sealed.metadata), **change}, data=sealed.data)
        )


def test_a_payload_is_bound_to_the_id_of_its_key() -> None:
    sealed = cipher().encrypt(PAYLOAD)
    renamed = Payload(metadata={**dict(sealed.metadata), KEY_ID: b"k2"}, data=sealed.data)

    with pytest.raises(Undecipherable):
        cipher(k2=K1, active="k2").decrypt(renamed)


def test_keys_of_old_still_read_and_what_was_never_encrypted_too() -> None:
    old, rotated = cipher().encrypt(PAYLOAD), cipher(k1=K1, k2=K2, active="k2")

    assert rotated.decrypt(old) == PAYLOAD
    assert key_of(rotated.encrypt(PAYLOAD)) == "k2"
    assert rotated.decrypt(PAYLOAD) == PAYLOAD
    assert rotated.encrypt(old) == old


def test_messages_and_stacks_of_failures_are_encrypted() -> None:
    converter = encrypting(pydantic_data_converter, FixedKeys(ring_of({"k1": K1, "active": "k1"}, "t")), "default")

    def fail() -> None:
        raise ApplicationError("the secret parameter", {"of": "the secret row"}, type="StepFailed")

    failure = Failure()
    try:
        fail()
    except ApplicationError as error:
        error.__cause__ = ValueError("the secret cause")
        asyncio.run(converter.encode_failure(error, failure))

    assert failure.application_failure_info.type == "StepFailed"
    assert b"secret" not in failure.SerializeToString()
    assert b"fail()" not in failure.SerializeToString()
    read = asyncio.run(converter.decode_failure(failure))
    assert isinstance(read, ApplicationError)
    assert (read.message, read.details) == ("the secret parameter", ({"of": "the secret row"},))
    assert "the secret cause" in str(read.__cause__)


def test_without_keys_nothing_changes_but_that_it_says_what_it_can_not_read() -> None:
    plain = encrypting(pydantic_data_converter, None, "default")

    assert asyncio.run(plain.encode([{"a": 1}])) == asyncio.run(pydantic_data_converter.encode([{"a": 1}]))
    assert asyncio.run(plain.decode([PAYLOAD])) == ["the secret parameter"]
    assert plain.failure_converter_class is pydantic_data_converter.failure_converter_class
    with pytest.raises(UnknownKey, match="encrypted with the key 'k1', and there is no key ring here"):
        asyncio.run(plain.decode([cipher().encrypt(PAYLOAD)]))
