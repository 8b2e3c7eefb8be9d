"""Key rings of tests, as folders: plain ones, and ones that are renewed as the kubelet renews a mounted Secret."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path


def new_key() -> str:
    """A key as an entry of a ring has it."""
    return base64.b64encode(os.urandom(32)).decode()


class MountedRing:
    """A ring in a folder, with the links of a mounted Secret: entries -> `..data/entry`, `..data` -> a folder."""

    def __init__(self, folder: Path, **entries: str) -> None:
        """`entries` are the ring's: `k1="..."` and `active="k1"`."""
        self.folder = folder
        self._number = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.entries: dict[str, str] = {}
        self.renew(entries)

    def renew(self, entries: Mapping[str, str]) -> None:
        """All entries at once, by one rename."""
        self._number += 1
        fresh = self.folder / f"..{self._number}"
        fresh.mkdir()
        for name, text in entries.items():
            (fresh / name).write_text(text)
        link = self.folder / "..data_tmp"
        link.symlink_to(fresh.name)
        link.rename(self.folder / "..data")
        for name in self.entries.keys() - entries.keys():
            (self.folder / name).unlink()
        for name in entries.keys() - self.entries.keys():
            (self.folder / name).symlink_to(f"..data/{name}")
        self.entries = dict(entries)
