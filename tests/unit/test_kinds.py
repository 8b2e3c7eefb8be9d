"""What we promise of the four kinds as a whole: words, descriptions, sizes, columns, and what their types take."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.kubernetes import ROOT
from tests.support.manifests import MODELS, changed, good, load
from tidemill_api.schema import Schema, crd, root
from tidemill_api.v1alpha1 import (
    KINDS,
    DataPipeline,
    Model,
    Resource,
    field_path,
    parse_bytes,
    parse_duration,
    parse_timestamp,
)

YAML_1_1_BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false"}
ALLOWED_BOOLEANS = {("Condition", "status"): {"True", "False"}}
"""Kubernetes' own words; kubectl writes them in quotes."""


def models() -> list[type[Model]]:
    """Every model below the kinds."""

    def below(model: type[Model]) -> Iterator[type[Model]]:
        for sub in model.__subclasses__():
            if sub.__module__.startswith("tidemill_api.v1alpha1"):
                yield sub
            yield from below(sub)

    return sorted(set(below(Model)), key=lambda model: model.__name__)


def ids(model: type[Model]) -> str:
    """A test's id."""
    return model.__name__


def enums(schema: Any) -> Iterator[str]:
    """All values of enums below a JSON Schema."""
    if isinstance(schema, dict):
        yield from (str(value) for value in [*schema.get("enum", ()), schema.get("const", "")])
        for inner in schema.values():
            yield from enums(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from enums(inner)


@pytest.mark.parametrize("model", models(), ids=ids)
def test_no_word_is_a_boolean_of_yaml_1_1(model: type[Model]) -> None:
    schema = model.model_json_schema(by_alias=True)
    for name, field in schema["properties"].items():
        assert name.lower() not in YAML_1_1_BOOLEANS
        words = set(enums({"enum": field.get("enum", ()), "items": field.get("items", {})}))
        refused = {word for word in words if word.lower() in YAML_1_1_BOOLEANS}
        assert refused == ALLOWED_BOOLEANS.get((model.__name__, name), set())


@pytest.mark.parametrize("model", models(), ids=ids)
def test_every_model_and_field_is_described(model: type[Model]) -> None:
    assert model.__doc__
    for name, field in model.model_json_schema()["properties"].items():
        if name not in {"apiVersion", "kind"}:
            assert field.get("description"), f"{model.__name__}.{name}"
            assert re.search(r"[.)]$", field["description"]), (
                f"{model.__name__}.{name}: a sentence ends with a full stop"
            )


def undescribed(schema: Schema, path: str) -> Iterator[str]:
    """Fields without a description, below a lowered schema."""
    for name, child in schema.get("properties", {}).items():
        if name == "metadata":
            continue  # the API server's own
        if "description" not in child and not path.endswith(".resources"):
            yield f"{path}.{name}"
        yield from undescribed(child.get("items", child), f"{path}.{name}")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind_name())
def test_kubectl_explain_has_a_text_for_every_field(kind: type[Resource]) -> None:
    assert list(undescribed(root(kind), kind.kind_name())) == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind_name())
def test_a_crd_is_far_below_the_limit(kind: type[Resource]) -> None:
    [file] = (ROOT / "crds").glob(f"*_{kind.served.plural}.yaml")
    assert file.stat().st_size < 140_000, "the issue's limit is 200 KB; `kubectl apply` keeps a copy in an annotation"
    assert len(json.dumps(crd(kind))) < 140_000


def at(schema: Schema, path: str) -> Schema:
    """The part of a schema that a simple JSONPath leads to; raises KeyError if there is none."""
    found = schema
    for part in re.findall(r"\w+|\[[^]]*\]", path):
        found = found["items"] if part.startswith("[") else found["properties"][part]
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind_name())
def test_columns_and_selectors_show_fields_that_exist(kind: type[Resource]) -> None:
    schema = root(kind)
    for column in kind.served.columns:
        if not column.path.startswith(".metadata."):
            shown = at(schema, column.path)["type"]
            assert shown == ("string" if column.type == "date" else column.type), column
    for path in kind.served.selectable:
        assert at(schema, path)["type"] == "string"


def test_a_rules_field_exists() -> None:
    for model in models():
        names = model.model_json_schema(by_alias=True)["properties"]
        for rule in model.rules:
            assert rule.field == "" or rule.field.split(".")[1] in names, f"{model.__name__}: {rule.message}"


@pytest.mark.parametrize("name", good())
def test_what_is_written_back_is_what_was_read(name: str) -> None:
    manifest = good()[name]
    read = MODELS[manifest["kind"]].model_validate(manifest)
    written = read.to_json()
    assert written["spec"] == manifest["spec"]
    assert MODELS[manifest["kind"]].model_validate(written) == read
    assert MODELS[manifest["kind"]].model_validate_json(json.dumps(manifest)) == read


def test_errors_name_their_fields_as_kubernetes_does() -> None:
    manifest = changed(
        load("pipeline")[0],
        {
            "spec.sinks[0].primaryKey": [],
            "spec.sources[1].name": "raw",
            "spec.schedule.startAt": "2026-02-30T00:00:00Z",
        },
    )
    with pytest.raises(ValidationError) as caught:
        DataPipeline.model_validate(manifest)
    assert {field_path(error["loc"]): error["msg"] for error in caught.value.errors()} == {
        "spec.schedule.startAt": "is no moment: day is out of range for month",
        "spec.sources[1]": "Duplicate value: name 'raw'",
        "spec.sinks[0].primaryKey": "Merge needs primaryKey: the columns that identify a row",
    }


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0s", timedelta()),
        ("250ms", timedelta(milliseconds=250)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("7d", timedelta(days=7)),
        ("999999d" * 4, timedelta(days=4 * 999999)),
    ],
)
def test_durations(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "1", "s", "1.5h", "-1s", "1 s", "1w", "1000000s", "1s\n"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write it like 30s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("512", 512), ("1k", 1000), ("64Mi", 64 << 20), ("2Gi", 2 << 30), ("3G", 3 * 10**9)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "Mi", "1.5Gi", "-1", "1 Gi", "1K", "1Ti", "1Mi\n"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size: write it like 64Mi"):
        parse_bytes(text)


def test_moments_of_two_time_zones_compare() -> None:
    assert parse_timestamp("2026-01-01T02:00:00.5+02:00") == parse_timestamp("2026-01-01T00:00:00.500000000Z")
