"""Making and changing key rings, as folders and as Secrets."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, Final

from tidemill_api.errors import ConfigError
from tidemill_codec.ring import ACTIVE, KEY_BYTES, KeyRing, read_ring, ring_of

_KEPT: Final = ("name", "namespace", "labels", "annotations", "resourceVersion")
"""What a changed Secret has of the one it was made of. With its version, of two changes at once one is refused."""
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""Of a Secret that was applied by kubectl: it holds the keys in the clear."""


class RingError(ConfigError):
    """What was asked of a key ring can't be done."""


def fresh(key_id: str | None = None) -> KeyRing:
    """A ring with one new key."""
    name = key_id or _today(())
    return ring_of({name: _new_key(), ACTIVE: name}, "the new ring")


def rotated(ring: KeyRing, key_id: str | None, *, standby: bool) -> KeyRing:
    """The ring with a new key, which writes unless it stands by."""
    name = key_id or _today(ring.ids)
    if ring.key(name) is not None:
        raise RingError(f"there is a key {name} already: give another --id")
    return ring_of(
        {**ring.entries(), name: _new_key(), ACTIVE: ring.active if standby else name}, "the ring with the new key"
    )


def activated(ring: KeyRing, key_id: str) -> KeyRing:
    """The ring with another key that writes."""
    return ring_of({**ring.entries(), ACTIVE: key_id}, "the ring")


def dropped(ring: KeyRing, key_id: str) -> KeyRing:
    """The ring without a key."""
    if ring.key(key_id) is None:
        raise RingError(f"there is no key {key_id}; the keys are {', '.join(ring.ids)}")
    if ring.active == key_id:
        raise RingError(f"{key_id} is the active key: make another one active first")
    return ring_of({name: text for name, text in ring.entries().items() if name != key_id}, "the ring")


def make_folder(folder: Path, ring: KeyRing) -> None:
    """Write a ring to a folder that is new or empty; only its owner can read it."""
    if folder.exists() and any(folder.iterdir()):
        raise RingError(f"{folder} isn't empty: `tidemill keys rotate --dir {folder}` adds a key to a ring")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder, ring, KeyRing({}, ""))


def change(
    folder: Path | None, source: Path | None, to: Callable[[KeyRing], Any], tell: Callable[[str], object]
) -> None:
    """Change the ring in a folder, or print the changed Secret of `source`.

    Raises:
        KeyRingInvalid, RingError: There is no ring, or the change can't be.
    """
    if folder is not None:
        before = read_ring(folder)
        _write(folder, to(before), before)
    else:
        manifest = _manifest(source or Path("-"))
        ring = to(_held(manifest))
        metadata = manifest["metadata"]
        made = secret(ring, metadata["name"], metadata.get("namespace"))
        kept = {name: metadata[name] for name in _KEPT if metadata.get(name)}
        kept["annotations"] = {
            name: value for name, value in (kept.get("annotations") or {}).items() if name != _LAST_APPLIED
        }
        tell(secret_text({**made, "metadata": {name: value for name, value in kept.items() if value}}).rstrip("\n"))


def read(place: Path) -> KeyRing:
    """The ring in a folder, or in a file (or pipe) with the manifest of a Secret. Raises KeyRingInvalid, RingError."""
    return read_ring(place) if place.is_dir() or not place.exists() else _held(_manifest(place))


def secret(ring: KeyRing, name: str, namespace: str | None) -> dict[str, Any]:
    """A Secret that holds the ring."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    data = {entry: base64.b64encode(text.encode()).decode() for entry, text in ring.entries().items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def secret_text(manifest: dict[str, Any]) -> str:
    """As YAML."""
    from ruamel.yaml import YAML

    yaml, text = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.dump(manifest, text)
    return text.getvalue()


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _today(taken: tuple[str, ...]) -> str:
    day = f"k{datetime.now(UTC):%Y%m%d}"
    others = (f"{day}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (day, *others) if name not in taken)


def _write(folder: Path, ring: KeyRing, before: KeyRing) -> None:
    """Keys first, then `active`, then what goes: who reads in between sees a whole ring."""
    wished, known = ring.entries(), before.entries()
    order = [name for name in wished if name != ACTIVE] + [ACTIVE]
    for name in (name for name in order if wished[name] != known.get(name)):
        part = folder / f".{name}.new"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(wished[name] + "\n")
        part.replace(folder / name)
    for name in known.keys() - wished.keys():
        (folder / name).unlink(missing_ok=True)


def _manifest(source: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = sys.stdin.read() if str(source) == "-" else source.read_text(encoding="utf-8")
        found = YAML(typ="safe").load(text)
    except OSError as error:
        raise RingError(f"{source}: can't be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError):
        raise RingError(f"{source}: is no YAML or JSON") from None
    if not isinstance(found, dict) or found.get("kind") != "Secret" or not (found.get("metadata") or {}).get("name"):
        raise RingError(f"{source}: is no Secret: give what `kubectl get secret NAME -o yaml` prints")
    return found


def _held(manifest: dict[str, Any]) -> KeyRing:
    data = manifest.get("data") or {}
    return ring_of({str(name): _decoded(str(name), text) for name, text in data.items()}, "the Secret")


def _decoded(name: str, text: object) -> str:
    try:
        return base64.b64decode(str(text), validate=True).decode("ascii", errors="replace")
    except (binascii.Error, ValueError):
        raise RingError(f"the Secret's entry {name} isn't base64") from None
