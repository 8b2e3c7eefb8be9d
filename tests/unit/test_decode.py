"""`tidemill decode`: JSON with payloads in any place, decrypted or left as it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from typer.testing import CliRunner, Result

from tests.support.keys import MountedRing, new_key
from tidemill_cli.app import app
from tidemill_cli.encryption import rings
from tidemill_cli.encryption.decode import payload_json
from tidemill_codec.cipher import Cipher
from tidemill_codec.folder import FixedKeys
from tidemill_codec.ring import ring_of

K1, K2 = new_key(), new_key()
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"rows":7}')
NULL = Payload(metadata={"encoding": b"binary/null"})
BYTES = Payload(metadata={"encoding": b"binary/plain"}, data=b"\x00\x01")
MESSAGE = Payload(metadata={"encoding": b"json/plain"}, data=b'{"message":"it broke","stack_trace":"at a"}')


def sealed(payload: Payload, namespace: str = "default", **entries: str) -> dict[str, Any]:
    keys = FixedKeys(ring_of(entries or {"k1": K1, "active": "k1"}, "test"))
    return payload_json(Cipher(keys, namespace).encrypt(payload))


def decode(text: str, folder: Path, *options: str) -> Result:
    MountedRing(folder, k1=K1, active="k1")
    return CliRunner().invoke(app, ["decode", "--keys", str(folder), *options], input=text)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (sealed(PLAIN), {"rows": 7}),
        (payload_json(PLAIN), {"rows": 7}),
        (sealed(NULL), None),
        (sealed(BYTES), payload_json(BYTES)),
        (
            {"events": [{"input": {"payloads": [sealed(PLAIN), "shorthand"]}}]},
            {"events": [{"input": {"payloads": [{"rows": 7}, "shorthand"]}}]},
        ),
        (
            {
                "failure": {
                    "message": "Encoded failure",
                    "encodedAttributes": sealed(MESSAGE),
                    "applicationFailureInfo": {"type": "T"},
                }
            },
            {"failure": {"message": "it broke", "stackTrace": "at a", "applicationFailureInfo": {"type": "T"}}},
        ),
        ({"metadata": {"name": "no payload"}, "data": "x"}, {"metadata": {"name": "no payload"}, "data": "x"}),
        ({"metadata": {"encoding": "not base64!"}}, {"metadata": {"encoding": "not base64!"}}),
        ([1, "two", None], [1, "two", None]),
    ],
    ids=[
        "a payload",
        "one in the clear",
        "nothing",
        "bytes",
        "a history",
        "a failure",
        "an object",
        "no base64",
        "no payload at all",
    ],
)
def test_what_is_found_is_decoded(found: Any, expected: Any, tmp_path: Path) -> None:
    done = decode(json.dumps(found), tmp_path)

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == expected


def test_the_ring_may_be_a_secrets_manifest(tmp_path: Path) -> None:
    keys = {"k1": K1, "active": "k1"}
    manifest = rings.secret_text(rings.secret(ring_of(keys, "test"), "ring", None))
    (tmp_path / "secret.yaml").write_text(manifest)

    done = CliRunner().invoke(app, ["decode", "--keys", str(tmp_path / "secret.yaml")], input=json.dumps(sealed(PLAIN)))

    assert (done.exit_code, json.loads(done.stdout)) == (0, {"rows": 7})
    gone = CliRunner().invoke(app, ["decode", "--keys", str(tmp_path / "gone")], input="{}")
    assert (gone.exit_code, "gone: can't be read: No such file" in gone.stderr) == (1, True)


def test_lines_of_json_are_decoded_one_by_one(tmp_path: Path) -> None:
    done = decode(f"{json.dumps(sealed(PLAIN))}\n{json.dumps(sealed(NULL))}\n", tmp_path)

    assert done.stdout.split("\n", 3) == ["{", '  "rows": 7', "}", "null\n"]


@pytest.mark.parametrize(
    ("unreadable", "says"),
    [
        (sealed(PLAIN, k2=K2, active="k2"), "1 of the payloads: a payload is encrypted with the key 'k2'"),
        (sealed(PLAIN, "other"), "of another Temporal namespace than 'default'"),
    ],
)
def test_what_can_not_be_read_stays_and_is_told(unreadable: dict[str, Any], says: str, tmp_path: Path) -> None:
    done = decode(json.dumps([unreadable, sealed(PLAIN)]), tmp_path)

    assert done.exit_code == 1
    assert json.loads(done.stdout) == [unreadable, {"rows": 7}]
    assert says in done.stderr


def test_the_namespace_is_an_option(tmp_path: Path) -> None:
    assert json.loads(decode(json.dumps(sealed(PLAIN, "other")), tmp_path, "-n", "other").stdout) == {"rows": 7}


def test_what_is_no_json_is_told(tmp_path: Path) -> None:
    done = decode("hello", tmp_path)

    assert (done.exit_code, done.stdout) == (1, "")
    assert "tidemill decode: stdin: is no JSON" in done.stderr


def test_a_library_that_is_missing_is_told_by_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tidemill_cli.encryption.callers", "tidemill_cli.encryption.codec_server"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "jwt", None)

    done = CliRunner().invoke(app, ["codec-server", "--keys", str(tmp_path)])

    assert done.exit_code == 1
    assert done.stderr == "tidemill codec-server: jwt isn't installed: install tidemill[decode]\n"
