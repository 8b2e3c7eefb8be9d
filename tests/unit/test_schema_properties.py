"""For any model: the lowered schema is structural, and it takes exactly the documents that the model takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, create_model

from tests.support.manifests import MODELS, changed, good, python_verdict
from tests.support.mutants import mutants
from tests.support.structural import accepts
from tidemill_api.schema import Schema, implied, root, structural
from tidemill_api.v1alpha1 import KINDS, ListKey, Model, Resource
from tidemill_api.v1alpha1._types import Scalar, null_is_absence

_ANNOTATED: Any = Annotated
_LIST: Any = tuple
_MAP: Any = dict
_CREATE: Any = create_model
"""These are called with types that are chosen at run time, which no type checker can follow."""
_NAMES: Final[tuple[str, ...]] = ("alpha", "beta_two", "gamma", "delta_four_x")
_TEXT: Final = st.text("ab-0\n", max_size=6)

Made = tuple[Any, Any]
"""An annotation, and a default or `...`."""


def _texts() -> st.SearchStrategy[Made]:
    def make(low: int, high: int, pattern: str | None) -> Made:
        return _ANNOTATED[str, Field(min_length=low, max_length=high, pattern=pattern)], ...

    return st.builds(make, st.integers(0, 2), st.integers(2, 5), st.sampled_from([None, "^[a-b]+$", "^a", "-"]))


def _numbers() -> st.SearchStrategy[Made]:
    def make(kind: type, low: int, exclusive: bool) -> Made:
        bounds = Field(gt=low, lt=low + 4) if exclusive else Field(ge=low, le=low + 4)
        return _ANNOTATED[kind, bounds], ...

    return st.builds(make, st.sampled_from([int, float]), st.integers(-3, 3), st.booleans())


_LEAVES: Final[st.SearchStrategy[Made]] = st.one_of(
    _texts(),
    _numbers(),
    st.just((bool, ...)),
    st.just((bool, True)),
    st.just((Literal["A", "B"], "A")),
    st.just((Literal["A", "B"], ...)),
    st.just((Scalar, ...)),
    st.just((Annotated[str, Field(max_length=4)], "ab")),
    st.just((dict[str, Any], ...)),
    st.just((Annotated[dict[Literal["one", "two"], bool], null_is_absence("one", "two")], ...)),
)


def _wrapped(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    """Optional, in a list, in a map, or a field of a model."""
    key = _ANNOTATED[str, Field(max_length=3)]
    return st.one_of(
        inner.map(lambda made: (made[0] | None, None)),
        inner.map(lambda made: (_ANNOTATED[_LIST[made[0], ...], Field(min_length=1, max_length=3)], ...)),
        inner.map(lambda made: (_ANNOTATED[_LIST[made[0], ...], Field(max_length=3)], ())),
        inner.map(lambda made: (_ANNOTATED[_MAP[key, made[0]], Field(max_length=2), null_is_absence()], ...)),
        _models(inner).map(lambda model: (model, ...)),
        _models(inner).map(lambda model: (_ANNOTATED[_LIST[model, ...], Field(max_length=3), ListKey("key")], ())),
    )


def _models(fields: st.SearchStrategy[Made]) -> st.SearchStrategy[type[Model]]:
    def make(chosen: dict[Any, Made]) -> type[Model]:
        key = (Annotated[str, Field(max_length=3)], ...)
        made: type[Model] = _CREATE("Random", __base__=Model, key=key, **chosen)
        return made

    return st.dictionaries(st.sampled_from(_NAMES), fields, max_size=3).map(make)


MODELS_AT_RANDOM: Final = _models(st.recursive(_LEAVES, _wrapped, max_leaves=4))

_JUNK: Final = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(-4, 8, allow_nan=False), _TEXT, st.just([]), st.just({})
)


@st.composite
def documents(draw: st.DrawFn, schema: Schema) -> Any:
    """A value that mostly fits the schema, and now and then doesn't."""
    return draw(_JUNK if draw(st.integers(0, 11)) == 0 else _fitting(schema))


def _fitting(schema: Schema) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from([*schema["enum"], "C"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            return _objects(schema)
        case "object":
            inner = schema.get("additionalProperties")
            return st.dictionaries(st.text("ab", max_size=4), documents(inner) if inner else _JUNK, max_size=3)
        case "array":
            return st.lists(documents(schema["items"]), max_size=4)
        case "integer":
            return st.integers(schema["minimum"] - 1, schema["maximum"] + 1)
        case "number":
            return st.floats(schema["minimum"] - 1, schema["maximum"] + 1).filter(lambda x: not x.is_integer())
        case other:
            return {"string": _TEXT, "boolean": st.booleans()}.get(str(other), st.one_of(_TEXT, st.integers()))


@st.composite
def _objects(draw: st.DrawFn, schema: Schema) -> dict[str, Any]:
    names = [name for name in schema["properties"] if draw(st.integers(0, 9)) or name not in schema.get("required", ())]
    document = {name: draw(documents(schema["properties"][name])) for name in names}
    if draw(st.integers(0, 15)) == 0:
        document["unknown"] = draw(_JUNK)
    return document


def takes(model: type[Model], document: Any) -> bool:
    """Whether the model takes the document."""
    try:
        model.model_validate(document)
    except ValidationError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_model_and_schema_take_the_same_documents(data: st.DataObject) -> None:
    model = data.draw(MODELS_AT_RANDOM)
    schema = structural(model)
    document = data.draw(documents(schema))
    assert accepts(schema, document) == takes(model, document), (schema, document)


_WORDS: Final = {
    "type", "description", "properties", "required", "additionalProperties", "maxProperties", "items", "minItems",
    "maxItems", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "default", "anyOf", "x-kubernetes-validations", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
}  # fmt: skip
_ANY_OF: Final = [{"type": "integer"}, {"type": "string"}]


def nodes(schema: Schema, in_list: bool = False) -> Iterator[tuple[Schema, bool]]:
    """Every node of a schema, and whether it is inside a list or a map."""
    yield schema, in_list
    for child in schema.get("properties", {}).values():
        yield from nodes(child, in_list)
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield from nodes(schema[word], True)


def assert_structural(schema: Schema) -> None:
    """What Kubernetes asks of a structural schema, and what we promise besides."""
    for node, in_list in nodes(schema):
        assert set(node) <= _WORDS
        assert ("type" in node) != bool(node.get("x-kubernetes-int-or-string"))
        assert node.get("anyOf", _ANY_OF) == _ANY_OF
        assert not ("properties" in node and "additionalProperties" in node)
        assert set(node.get("required", ())) <= set(node.get("properties", ()))
        assert "default" not in node or not in_list, "no default inside a list"
        if "default" in node:
            assert accepts(node, node["default"]), "the API server checks defaults as they stand"
            assert accepts(node, implied(node))
        assert node.get("type") != "array" or "maxItems" in node
        assert node.get("type") != "string" or "maxLength" in node or "enum" in node
        assert all(rule["message"] and rule["rule"] for rule in node.get("x-kubernetes-validations", ()))


@settings(max_examples=60, deadline=None)
@given(model=MODELS_AT_RANDOM)
def test_every_lowered_schema_is_structural(model: type[Model]) -> None:
    assert_structural(structural(model))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind_name())
def test_the_schemas_of_the_kinds_are_structural(kind: type[Resource]) -> None:
    parts = root(kind)["properties"]
    assert_structural(parts["spec"])
    assert_structural(parts["status"])
    defaults = [node["default"] for node, _ in nodes(parts["status"]) if "default" in node]
    assert defaults == [{"observedGeneration": -1}], "what no operator has seen says so; nothing else joins a status"


def test_good_manifests_are_taken_and_mutants_are_not() -> None:
    """The small reader of schemas says what the real server says (see tests/integration/test_manifests_refused.py)."""
    for manifest in good().values():
        spec = root(MODELS[manifest["kind"]])["properties"]["spec"]
        assert accepts(spec, manifest["spec"])
        assert python_verdict(manifest) == {}
        for mutant in mutants(manifest, spec):
            assert not accepts(spec, mutant.manifest["spec"]) or mutant.constraint == "keys", str(mutant)


def test_the_good_manifests_use_every_field() -> None:
    used: set[str] = set()
    for manifest in good().values():
        used |= set(_used(f"{manifest['kind']}.spec", manifest["spec"]))
    fields = {f for kind in KINDS for f in _fields(f"{kind.kind_name()}.spec", root(kind)["properties"]["spec"])}
    assert fields - used == set()


def _used(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}"
            yield from _used(f"{path}.{name}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _used(path, inner)


def _fields(path: str, schema: Schema) -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _fields(f"{path}.{name}", child.get("items", child))


def test_a_change_of_a_good_manifest_is_told_apart() -> None:
    manifest = good()["pipeline/DataPipeline/flights"]
    assert python_verdict(changed(manifest, {"spec.suspend": "no"})) != {}
