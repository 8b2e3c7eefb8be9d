"""`tidemill keys`: rings made and changed, as folders and as Secrets."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from tidemill_cli.app import app
from tidemill_codec.ring import KeyRing, read_ring, ring_of

run = CliRunner()


def keys(*arguments: str, stdin: str | None = None) -> Result:
    return run.invoke(app, ["keys", *arguments], input=stdin)


def ring_in(manifest: str) -> KeyRing:
    data = YAML(typ="safe").load(manifest)["data"]
    return ring_of({name: base64.b64decode(text).decode() for name, text in data.items()}, "printed")


def test_a_folder_is_made_rotated_and_cleaned(tmp_path: Path) -> None:
    folder = tmp_path / "keys"

    assert keys("new", "--dir", str(folder), "--id", "k1").exit_code == 0
    first = read_ring(folder)
    assert (first.ids, first.active) == (("k1",), "k1")
    assert stat.S_IMODE((folder / "k1").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    assert keys("rotate", "--dir", str(folder), "--id", "k2", "--standby").exit_code == 0
    assert (read_ring(folder).ids, read_ring(folder).active) == (("k1", "k2"), "k1")
    assert keys("activate", "k2", "--dir", str(folder)).exit_code == 0
    assert keys("rotate", "--dir", str(folder)).exit_code == 0
    third = read_ring(folder)
    assert third.active not in ("k1", "k2")
    assert third.key("k1") == first.key("k1")

    assert keys("drop", "k1", "--dir", str(folder)).exit_code == 0
    assert "k1" not in read_ring(folder).ids
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == []


def test_a_secret_is_made_and_rotated_as_kubectl_has_it() -> None:
    made = keys("new", "--secret", "ring", "--namespace", "tidemill-system")
    assert made.exit_code == 0
    manifest = YAML(typ="safe").load(made.stdout)
    assert (manifest["kind"], manifest["metadata"]) == ("Secret", {"name": "ring", "namespace": "tidemill-system"})
    before = ring_in(made.stdout)

    manifest["metadata"] |= {
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"app": "tidemill"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "helm.sh/resource-policy": "keep"},
    }
    text = json.dumps(manifest)
    rotated = keys("rotate", "--from", "-", stdin=text)

    assert rotated.exit_code == 0
    after = ring_in(rotated.stdout)
    assert after.key(before.active) == before.key(before.active)
    assert after.active != before.active
    assert YAML(typ="safe").load(rotated.stdout)["metadata"] == {
        "name": "ring",
        "namespace": "tidemill-system",
        "labels": {"app": "tidemill"},
        "annotations": {"helm.sh/resource-policy": "keep"},
        "resourceVersion": "7",
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("new",), "give either --dir DIR or --secret NAME"),
        (("new", "--dir", "{ring}"), "isn't empty: `tidemill keys rotate --dir"),
        (("new", "--secret", "s", "--id", "Not_good"), "'Not_good' is no id of a key"),
        (("rotate",), "give either --dir DIR or --from FILE"),
        (("rotate", "--dir", "{ring}/gone"), "can't be read: No such file"),
        (("rotate", "--dir", "{ring}", "--id", "k1"), "there is a key k1 already"),
        (("activate", "k9", "--dir", "{ring}"), "`active` names 'k9', but the keys here are k1"),
        (("drop", "k1", "--dir", "{ring}"), "k1 is the active key: make another one active first"),
        (("drop", "k9", "--dir", "{ring}"), "there is no key k9; the keys are k1"),
        (("rotate", "--from", "{ring}/k1"), "is no Secret: give what `kubectl get secret NAME -o yaml` prints"),
        (("rotate", "--from", "{ring}/gone"), "gone: can't be read"),
    ],
)
def test_what_can_not_be_done_says_why(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    assert keys("new", "--dir", str(ring), "--id", "k1").exit_code == 0
    before = read_ring(ring)

    done = keys(*(argument.replace("{ring}", str(ring)) for argument in arguments))

    assert done.exit_code == 1
    assert done.stderr.startswith("tidemill keys ")
    assert says in done.stderr
    assert "Traceback" not in done.output
    assert read_ring(ring) == before
