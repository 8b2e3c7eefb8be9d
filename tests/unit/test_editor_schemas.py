"""Schemas for editors: each file's line names the schema that its content fits, and a wrong field doesn't fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT7

from tests.support.commands import tidemill
from tests.support.kubernetes import ROOT
from tests.support.manifests import GOLDEN
from tidemill_api.v1alpha1 import GROUP
from tidemill_cli.editor.schemas import ANY_KIND, FOLDER, TEST_FILE, line, schemas
from tidemill_cli.lint.yaml_text import read_documents
from tidemill_cli.new.making import templates

_LINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")
Check = Callable[[Any], Any]


def check_of(folder: Path, name: str) -> Check:
    """A schema of a folder as an editor would load it, with those that it refers to."""
    texts = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    known: Registry[Any] = Registry().with_resources(
        (each, DRAFT7.create_resource(schema)) for each, schema in texts.items()
    )
    Draft7Validator.check_schema(texts[name])
    check: Check = Draft7Validator(texts[name], registry=known).validate
    return check


def documents(file: Path) -> list[Any]:
    return [one.value for one in read_documents(file.read_text(encoding="utf-8")) if one.value is not None]


def examples() -> Iterator[Path]:
    """Files of ours that people edit where they are: those of `gitops` are copied to a repository of their own."""
    for file in sorted((ROOT / "examples").rglob("*.yaml")):
        if "gitops" in file.parts:
            continue
        ours = [one for one in documents(file) if str(one.get("apiVersion", "")).startswith(GROUP)]
        if ours or file.name.endswith(".test.yaml"):
            yield file


@pytest.mark.parametrize("file", list(examples()), ids=lambda file: str(file.relative_to(ROOT)))
def test_examples_name_a_schema_that_they_fit(file: Path) -> None:
    named = _LINE.match(file.read_text(encoding="utf-8"))
    assert named, f"{file} doesn't begin with {line('...')}"
    schema = (file.parent / named[1]).resolve()
    assert schema.is_relative_to(ROOT / "docs/reference/schemas")
    for document in documents(file):
        check_of(schema.parent, schema.name)(document)


@pytest.mark.parametrize("template", sorted(templates()))
def test_templates_name_schemas_that_are_made_with_them(template: str, tmp_path: Path) -> None:
    assert tidemill("new", template, tmp_path / "it").code == 0
    files = [file for file in (tmp_path / "it").glob("*.yaml") if file.name != "tidemill.dev.yaml"]
    assert len(files) == 3
    for file in files:
        named = _LINE.match(file.read_text(encoding="utf-8"))
        assert named
        (document,) = documents(file)
        check_of(file.parent / FOLDER, (file.parent / named[1]).name)(document)


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.yaml")), ids=lambda file: file.name)
def test_every_good_manifest_fits_its_schema_and_the_one_of_all(file: Path) -> None:
    for document in documents(file):
        for name in (f"{document['kind'].lower()}.json", ANY_KIND):
            check_of(ROOT / "docs/reference/schemas", name)(document)


WRONG = [
    ("datapipeline.json", {"spec": {"suspnd": True}}),
    ("datapipeline.json", {"kind": "WorkerPool"}),
    (ANY_KIND, {"kind": "Pipeline"}),
    (TEST_FILE, {"cases": []}),
    (TEST_FILE, {"cases": [{"name": "x", "sources": {}, "expect": {"output": {}}}]}),
    (TEST_FILE, {"cases": [{"name": "x", "sources": {"raw": {"rows": [1]}}, "expect": {}}]}),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_what_is_wrong_does_not_fit(name: str, value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        check_of(ROOT / "docs/reference/schemas", name)(value)


def test_the_command_writes_them_over_old_ones(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text("old", encoding="utf-8")
    said = tidemill("schemas", tmp_path)
    assert said.code == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == schemas()
    assert sorted(said.out.splitlines()) == sorted(str(tmp_path / name) for name in schemas())
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert tidemill("schemas", tmp_path / "file").code == 1
