"""Which packages an image holds, as their own records in it say, and how many bytes are whose."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from typing import Literal

from tools.images.archive import Archive


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One package of Python's or Debian's."""

    kind: Literal["pypi", "deb", "generic"]
    name: str
    version: str
    license: str | None = None
    """As the package itself declares it, if that is an SPDX expression."""
    architecture: str | None = None

    @property
    def purl(self) -> str:
        """The package URL."""
        version = self.version.replace("+", "%2B").replace(":", "%3A")
        match self.kind:
            case "pypi":
                return f"pkg:pypi/{self.name.lower().replace('_', '-')}@{version}"
            case "deb":
                return f"pkg:deb/debian/{self.name}@{version}?arch={self.architecture}"
            case "generic":
                return f"pkg:generic/{self.name}@{version}"


def packages(archive: Archive) -> tuple[Package, ...]:
    """All packages of an image, sorted."""
    return tuple(sorted(_found(archive.texts)))


def _found(texts: Mapping[str, str]) -> Iterator[Package]:
    for path, text in texts.items():
        if path.endswith("/METADATA"):
            fields = Parser().parsestr(text, headersonly=True)
            yield Package("pypi", fields["Name"], fields["Version"], _license(fields))
        elif path.startswith("var/lib/dpkg/status.d/"):
            fields = Parser().parsestr(text, headersonly=True)
            yield Package("deb", fields["Package"], fields["Version"], None, fields["Architecture"])
        elif path == "usr/share/python/version":
            yield Package("generic", "python", text.strip(), "Python-2.0")


def _license(fields: Message) -> str | None:
    """Only what is an expression for sure; older records hold whole texts, or names of their own."""
    declared = fields["License-Expression"]
    return str(declared) if declared else None


def bytes_by_owner(archive: Archive) -> Mapping[str, int]:
    """How many bytes of files belong to what: each Python package, Python itself, Debian's libraries, our own code."""
    owners = _owners(archive.texts)
    counted: Counter[str] = Counter()
    for path, size in archive.files.items():
        counted[_owner(path, owners)] += size
    return counted


def _owners(texts: Mapping[str, str]) -> Mapping[str, str]:
    """Top entries of site-packages by the package that brought them."""
    found: dict[str, str] = {}
    for path, text in texts.items():
        if path.endswith("/RECORD"):
            folder = path.split("/")[-2]
            name = folder.partition("-")[0]
            found[folder] = name
            for row in csv.reader(text.splitlines()):
                if row:
                    found.setdefault(row[0].partition("/")[0] if not row[0].startswith("..") else row[0], name)
                    if row[0].startswith("../../../bin/"):
                        found.setdefault(row[0].rpartition("/")[2], name)
    return found


def _owner(path: str, owners: Mapping[str, str]) -> str:
    _, inside, rest = path.partition("/site-packages/")
    if inside:
        top = rest.partition("/")[0]
        # Bytecode of modules that lie beside packages.
        entry = top if top != "__pycache__" else f"{rest.split('/')[1].partition('.')[0]}.py"
        return owners.get(entry, top).replace("_", "-")
    if path.startswith("opt/tidemill/bin/") and (program := owners.get(path.rpartition("/")[2])):
        return program.replace("_", "-")
    if "/python3" in path or "/libpython3" in path:
        return "Python"
    if path.startswith("data/"):
        return "data"
    return "system libraries"
