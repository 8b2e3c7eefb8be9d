"""The key ring: what is refused and why, and how a folder that changes is followed."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from tests.support.keys import MountedRing, new_key
from tidemill_api.errors import KeyRingInvalid
from tidemill_api.names import KEYS_VARIABLE, SETTLE_VARIABLE
from tidemill_codec.folder import KeyFolder, keys_of
from tidemill_codec.ring import read_ring, ring_of

KEY, OTHER = new_key(), new_key()
SHORT = base64.b64encode(os.urandom(16)).decode()


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({}, "there is no key"),
        ({"active": "k1"}, "there is no key"),
        ({"k1": KEY}, "no entry `active`: it names the key that writes \\(k1\\)"),
        ({"k1": KEY, "active": "k2"}, "`active` names 'k2', but the keys here are k1"),
        ({"k1": KEY, "active": ""}, "`active` doesn't hold the id of a key"),
        ({"k1": KEY, "active": KEY}, "`active` doesn't hold the id of a key"),
        ({"k1": SHORT, "active": "k1"}, "the key k1 has 16 bytes: it must be 32 random bytes in base64"),
        ({"k1": "not base64!", "active": "k1"}, "the key k1 isn't base64"),
        ({"k1": "", "active": "k1"}, "the key k1 has 0 bytes"),
        ({"k1": base64.b64encode(bytes(32)).decode(), "active": "k1"}, "the key k1 isn't random"),
        ({"k1": KEY, "k2": KEY, "active": "k1"}, "k1 and k2 are the same key"),
        ({"K_1": KEY, "active": "K_1"}, "'K_1' is no id of a key: write 1 to 63 of a-z"),
        ({"k" * 64: KEY, "active": "k"}, "is no id of a key"),
    ],
)
def test_what_is_no_ring_is_refused(entries: dict[str, str], says: str) -> None:
    with pytest.raises(KeyRingInvalid, match=says) as refused:
        ring_of(entries, "the Secret")
    assert str(refused.value).startswith("the Secret: ")
    assert not any(secret in str(refused.value) for secret in (KEY, OTHER, SHORT))


def test_a_ring_reads_as_it_was_written() -> None:
    ring = ring_of({"k1": f"{KEY}\n", "k2": OTHER, "active": " k2\n"}, "here")

    assert (ring.ids, ring.active) == (("k1", "k2"), "k2")
    assert ring.key("k1") == base64.b64decode(KEY)
    assert ring_of(ring.entries(), "again") == ring


def test_no_key_is_ever_shown() -> None:
    ring = ring_of({"k1": KEY, "active": "k1"}, "here")

    assert "k1" in repr(ring)
    for shown in (repr(ring), str(ring), f"{ring}"):
        assert KEY not in shown
        assert repr(base64.b64decode(KEY))[2:-1] not in shown


def test_a_folder_that_is_no_ring_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyRingInvalid, match="gone: can't be read: No such file"):
        read_ring(tmp_path / "gone")
    (tmp_path / "k1").write_bytes(b"x" * 5000)
    with pytest.raises(KeyRingInvalid, match="k1: is longer than any key"):
        read_ring(tmp_path)
    (tmp_path / "k1").write_bytes(os.urandom(32))
    with pytest.raises(KeyRingInvalid, match="the key k1 isn't base64"):
        read_ring(tmp_path)


def test_a_renewed_mount_is_followed(tmp_path: Path) -> None:
    mount, clock = MountedRing(tmp_path, k1=KEY, active="k1"), Clock()
    keys = KeyFolder(tmp_path, settle=0, clock=clock)
    assert keys.ring().active == "k1"

    mount.renew({"k1": KEY, "k2": OTHER, "active": "k2"})
    assert keys.ring().active == "k1", "it isn't looked at more than once a second"
    clock.now += 1
    assert (keys.ring().active, keys.ring().ids) == ("k2", ("k1", "k2"))


def test_an_unknown_key_is_looked_for_at_once(tmp_path: Path) -> None:
    mount, clock = MountedRing(tmp_path, k1=KEY, active="k1"), Clock()
    keys = KeyFolder(tmp_path, clock=clock)
    assert keys.key("k2") is None

    mount.renew({"k1": KEY, "k2": OTHER, "active": "k1"})

    assert keys.key("k2") == base64.b64decode(OTHER)


def test_a_new_key_reads_at_once_and_writes_when_it_has_settled(tmp_path: Path) -> None:
    mount, clock = MountedRing(tmp_path, k1=KEY, active="k1"), Clock()
    keys = KeyFolder(tmp_path, settle=120, clock=clock)

    mount.renew({"k1": KEY, "k2": OTHER, "active": "k2"})
    clock.now += 1
    assert (keys.ring().active, keys.declared().active) == ("k1", "k2")
    assert keys.key("k2") is not None
    clock.now += 119
    assert keys.ring().active == "k1"
    clock.now += 1
    assert keys.ring().active == "k2"

    mount.renew({"k1": KEY, "k2": OTHER, "active": "k1"})
    clock.now += 1
    assert keys.ring().active == "k1", "a key that is known for long writes at once"


def test_a_key_that_was_there_before_it_became_active_writes_at_once(tmp_path: Path) -> None:
    mount, clock = MountedRing(tmp_path, k1=KEY, active="k1"), Clock()
    keys = KeyFolder(tmp_path, settle=120, clock=clock)
    mount.renew({"k1": KEY, "k2": OTHER, "active": "k1"})
    clock.now += 1
    keys.ring()
    clock.now += 200

    mount.renew({"k1": KEY, "k2": OTHER, "active": "k2"})
    clock.now += 1

    assert keys.ring().active == "k2"


def test_a_key_writes_at_once_when_the_former_is_gone(tmp_path: Path) -> None:
    mount, clock = MountedRing(tmp_path, k1=KEY, active="k1"), Clock()
    keys = KeyFolder(tmp_path, settle=120, clock=clock)

    mount.renew({"k2": OTHER, "active": "k2"})
    clock.now += 1

    assert (keys.ring().active, keys.key("k1")) == ("k2", None)


def test_a_folder_that_went_wrong_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mount, clock = MountedRing(tmp_path, k1=KEY, active="k1"), Clock()
    keys = KeyFolder(tmp_path, settle=0, clock=clock)

    mount.renew({"k1": SHORT, "active": "k1"})
    for _ in range(3):
        clock.now += 1
        assert keys.key("k1") == base64.b64decode(KEY)

    assert [record.message.partition(": ")[0] for record in caplog.records] == ["the former key ring stays in use"]
    mount.renew({"k2": OTHER, "active": "k2"})
    clock.now += 1
    assert keys.ring().active == "k2"
    assert not any(secret in caplog.text for secret in (KEY, OTHER, SHORT))


def test_the_environment_names_the_folder(tmp_path: Path) -> None:
    MountedRing(tmp_path, k1=KEY, active="k1")

    assert keys_of({}) is None
    assert keys_of({KEYS_VARIABLE: ""}) is None
    found = keys_of({KEYS_VARIABLE: str(tmp_path), SETTLE_VARIABLE: "0.5"})
    assert found is not None
    assert found.ring().active == "k1"
    with pytest.raises(KeyRingInvalid, match="TIDEMILL_ENCRYPTION_SETTLE: 'soon' is no number of seconds"):
        keys_of({KEYS_VARIABLE: str(tmp_path), SETTLE_VARIABLE: "soon"})
