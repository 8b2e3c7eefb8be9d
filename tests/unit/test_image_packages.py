"""Whose the bytes of an image are, and what its list of contents says, from the records in it."""

from __future__ import annotations

import json

import pytest

from tools.images import sizes, spdx
from tools.images.archive import Archive, Layer
from tools.images.catalog import NAMES, Image, images
from tools.images.packages import Package, bytes_by_owner, packages

PACKAGES = "opt/tidemill/lib/python3.11/site-packages"
TEXTS = {
    f"{PACKAGES}/some_thing-1.2.dist-info/METADATA": "Name: Some_Thing\nVersion: 1.2\nLicense-Expression: MIT\n\ntext",
    f"{PACKAGES}/some_thing-1.2.dist-info/RECORD": "some/__init__.py,,\nalone.py,,\n../../../bin/tool,,\n",
    f"{PACKAGES}/old-3.dist-info/METADATA": "Name: old\nVersion: 3\nLicense: a whole text\n",
    f"{PACKAGES}/old-3.dist-info/RECORD": "old/__init__.py,,\n",
    "var/lib/dpkg/status.d/libc6": "Package: libc6\nVersion: 1:2.36+b1\nArchitecture: amd64\n",
    "usr/share/python/version": "3.11.2\n",
}
FILES = {
    f"{PACKAGES}/some/__init__.py": 1,
    f"{PACKAGES}/some/__pycache__/__init__.cpython-311.pyc": 2,
    f"{PACKAGES}/__pycache__/alone.cpython-311.pyc": 4,
    f"{PACKAGES}/some_thing-1.2.dist-info/METADATA": 8,
    "opt/tidemill/bin/tool": 16,
    f"{PACKAGES}/old/__init__.py": 32,
    "usr/lib/python3.11/os.py": 64,
    "usr/lib/x86_64-linux-gnu/libc.so.6": 128,
    "data/flights/flights.csv.zip": 256,
}
ARCHIVE = Archive(
    {"config": {"Labels": {"org.opencontainers.image.version": "0.1.0"}}},
    (Layer("ab", 10, 5), Layer("cd", 20, 7)),
    FILES,
    TEXTS,
)


def test_packages_are_those_that_have_a_record() -> None:
    assert packages(ARCHIVE) == (
        Package("deb", "libc6", "1:2.36+b1", None, "amd64"),
        Package("generic", "python", "3.11.2", "Python-2.0"),
        Package("pypi", "Some_Thing", "1.2", "MIT"),
        Package("pypi", "old", "3", None),
    )
    assert [package.purl for package in packages(ARCHIVE)] == [
        "pkg:deb/debian/libc6@1%3A2.36%2Bb1?arch=amd64",
        "pkg:generic/python@3.11.2",
        "pkg:pypi/some-thing@1.2",
        "pkg:pypi/old@3",
    ]


def test_every_byte_has_one_owner() -> None:
    assert bytes_by_owner(ARCHIVE) == {
        "some-thing": 31,
        "old": 32,
        "Python": 64,
        "system libraries": 128,
        "data": 256,
    }


def test_the_list_of_contents_relates_all_to_the_image_and_depends_on_the_layers_only() -> None:
    text = spdx.document(Image("worker"), ARCHIVE)
    listed = json.loads(text)

    assert [package["versionInfo"] for package in listed["packages"]] == ["0.1.0", "1:2.36+b1", "3.11.2", "1.2", "3"]
    assert [package["licenseDeclared"] for package in listed["packages"]][-2:] == ["MIT", "NOASSERTION"]
    assert {entry["relationshipType"] for entry in listed["relationships"]} == {"DESCRIBES", "CONTAINS"}
    assert len(listed["relationships"]) == len(listed["packages"])
    assert spdx.document(Image("worker"), ARCHIVE) == text
    other = Archive(ARCHIVE.config, (Layer("ef", 10, 5),), FILES, TEXTS)
    assert json.loads(spdx.document(Image("worker"), other))["documentNamespace"] != listed["documentNamespace"]


@pytest.mark.parametrize("name", NAMES)
def test_the_budget_names_every_image_and_is_felt(name: str) -> None:
    image = Image(name)
    heavy = sizes.Weight(size=10**10, compressed=10**9, owners={})

    assert sizes.too_heavy(image, sizes.Weight(1, 1, {})) == []
    over = sizes.too_heavy(image, heavy)
    assert len(over) == 2
    assert over[0].startswith(f"{name}: 1000.0 MB compressed, the budget is ")


def test_the_page_tells_figures_of_every_image() -> None:
    assert set(sizes.figures(sizes.PAGE.read_text(encoding="utf-8"))) == set(NAMES)


def test_an_image_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="there is no image wroker; there are operator, worker"):
        images(["wroker"])
