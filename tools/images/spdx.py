"""The list of what is in an image, as SPDX 2.3 in JSON; equal images have equal lists."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from tools.images.archive import Archive
from tools.images.catalog import EPOCH, Image
from tools.images.packages import Package, packages


def document(image: Image, archive: Archive) -> str:
    """The document's text."""
    layers = hashlib.sha256("".join(layer.digest for layer in archive.layers).encode()).hexdigest()
    version = archive.config["config"]["Labels"]["org.opencontainers.image.version"]
    root: dict[str, Any] = {
        **_package("SPDXRef-image", f"tidemill/{image.name}", version, "Apache-2.0"),
        "primaryPackagePurpose": "CONTAINER",
        "externalRefs": [_reference(f"pkg:oci/{image.name}?tag={version}")],
    }
    inside = [_entry(package) for package in packages(archive)]
    content = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"tidemill-{image.name}-{version}",
        "documentNamespace": f"https://tidemill.dev/spdx/{image.name}-{version}-{layers}",
        "creationInfo": {
            "created": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Organization: Tidemill", "Tool: tidemill-tools-images"],
        },
        "packages": [root, *inside],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image"),
            *(_relationship("SPDXRef-image", "CONTAINS", entry["SPDXID"]) for entry in inside),
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def _entry(package: Package) -> dict[str, Any]:
    reference = f"SPDXRef-{package.kind}-{re.sub(r'[^A-Za-z0-9.-]', '-', package.name)}"
    made = _package(reference, package.name, package.version, package.license)
    return {**made, "externalRefs": [_reference(package.purl)]}


def _package(reference: str, name: str, version: str, declared: str | None) -> dict[str, Any]:
    return {
        "SPDXID": reference,
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": declared or "NOASSERTION",
        "copyrightText": "NOASSERTION",
    }


def _reference(purl: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}


def _relationship(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
