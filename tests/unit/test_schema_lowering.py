"""The lowering, construct by construct: what each becomes, and that what it doesn't know raises with its path."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field, StringConstraints

from tidemill_api.schema import Schema, UnknownConstructError, implied, structural
from tidemill_api.v1alpha1 import ListKey, Model, Rule
from tidemill_api.v1alpha1._types import Duration, Quantity, Scalar, Timestamp

Short = Annotated[str, Field(max_length=9)]


class Leaf(Model):
    """A leaf."""

    name: Short
    """Its name."""
    size: Annotated[int, Field(ge=1)] = 3
    """Its size."""


class Branch(Model):
    """All with defaults."""

    size: int = 3
    """Its size."""
    inner: Annotated[int, Field(lt=9)] = 4
    """More."""


class Ruled(Model):
    """With rules."""

    low: int = 1
    """Low."""
    high: int = 2
    """High."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.low < self.high", "low must be less than high", lambda s: s.low < s.high, ".low"),
        Rule(None, "told by lint only", lambda _: True),
        Rule("self.low != 7", "not seven", lambda s: s.low != 7),
    )


class Endless(Model):
    """Holds itself."""

    again: Endless | None = None
    """Itself."""


class Fields(BaseModel):
    """Every construct that is known, a field each."""

    text: Short
    text_bounds: Annotated[str, Field(min_length=1, max_length=9, pattern="^a+$")]
    optional: Short | None = None
    default: Short = "x"
    whole: Annotated[int, Field(ge=0, le=10)] = 0
    number: Annotated[float, Field(gt=0, lt=1.5)] = 1.0
    multiple: Annotated[int, Field(multiple_of=5)] = 5
    flag: bool = False
    choice: Literal["A", "B"] = "A"
    constant: Literal["A"] = "A"
    texts: Annotated[tuple[Short, ...], Field(min_length=1, max_length=4)] = ("a",)
    no_texts: Annotated[tuple[Short, ...], Field(max_length=4)] = ()
    leaves: Annotated[tuple[Leaf, ...], Field(max_length=4), ListKey("name")] = ()
    map_: Annotated[dict[Short, int], Field(max_length=4, alias="map")] = Field(default_factory=dict)
    keyed: Annotated[dict[Annotated[str, Field(pattern="^a\\.b$", max_length=3)], int], Field(max_length=4)] = {}
    known_keys: dict[Literal["one", "two"], bool] = {"one": True}
    free: dict[str, Any] = Field(default_factory=dict)
    leaf: Leaf | None = None
    branch: Branch = Branch()
    branch_changed: Branch = Branch(size=5)
    scalar: Scalar = "a"
    quantity: Quantity | None = None
    moment: Timestamp | None = None
    duration: Duration = "1s"


_LEAF: Schema = {
    "type": "object",
    "properties": {
        "name": {"description": "Its name.", "type": "string", "maxLength": 9},
        "size": {"description": "Its size.", "type": "integer", "minimum": 1, "default": 3},
    },
    "required": ["name"],
}
_BRANCH: Schema = {
    "description": "All with defaults.",
    "type": "object",
    "properties": {
        "size": {"description": "Its size.", "type": "integer", "default": 3},
        "inner": {"description": "More.", "type": "integer", "maximum": 9, "exclusiveMaximum": True, "default": 4},
    },
}
_INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
_LEAF_IN_LIST: Schema = {
    **_LEAF,
    "description": "A leaf.",
    "properties": {
        **_LEAF["properties"],
        "size": {"description": "Its size. Default: 3.", "type": "integer", "minimum": 1},
    },
}
EXPECTED: dict[str, Schema] = {
    "text": {"type": "string", "maxLength": 9},
    "text_bounds": {"type": "string", "maxLength": 9, "minLength": 1, "pattern": "^a+$"},
    "optional": {"type": "string", "maxLength": 9},
    "default": {"type": "string", "maxLength": 9, "default": "x"},
    "whole": {"type": "integer", "minimum": 0, "maximum": 10, "default": 0},
    "number": {
        "type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1.5, "exclusiveMaximum": True,
        "default": 1,
    },
    "multiple": {"type": "integer", "multipleOf": 5, "default": 5},
    "flag": {"type": "boolean", "default": False},
    "choice": {"type": "string", "enum": ["A", "B"], "default": "A"},
    "constant": {"type": "string", "enum": ["A"], "default": "A"},
    "texts": {
        "type": "array", "items": {"type": "string", "maxLength": 9}, "minItems": 1, "maxItems": 4, "default": ["a"],
    },
    "no_texts": {"type": "array", "items": {"type": "string", "maxLength": 9}, "maxItems": 4},
    "leaves": {
        "type": "array", "items": _LEAF_IN_LIST, "maxItems": 4,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
    },
    "map": {
        "type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 4,
        "x-kubernetes-validations": [
            {
                "rule": "self.all(k, size(k) <= 9)",
                "message": "keys must have at most 9 characters",
                "reason": "FieldValueInvalid",
            }
        ],
    },
    "keyed": {
        "type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 4,
        "x-kubernetes-validations": [
            {
                "rule": 'self.all(k, size(k) <= 3 && k.matches("^a\\\\.b$"))',
                "message": "keys must have at most 3 characters and match ^a\\.b$",
                "reason": "FieldValueInvalid",
            }
        ],
    },
    "known_keys": {
        "type": "object", "default": {"one": True},
        "properties": {"one": {"type": "boolean"}, "two": {"type": "boolean"}},
    },
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "leaf": {**_LEAF, "description": "A leaf."},
    "branch": {**_BRANCH, "default": {}},
    "branch_changed": {**_BRANCH, "default": {"size": 5}},
    "scalar": {**_INT_OR_STRING, "maxLength": 4096, "default": "a"},
    "quantity": {
        **_INT_OR_STRING, "maxLength": 32, "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?([KMGTPE]i|[mkMGTPE])?$",
    },
    "moment": {
        "type": "string", "format": "date-time", "maxLength": 40,
        "pattern": r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
        r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
    },
    "duration": {"type": "string", "maxLength": 32, "pattern": "^([0-9]{1,6}(ms|s|m|h|d))+$", "default": "1s"},
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_each_construct_becomes(name: str) -> None:
    assert structural(Fields)["properties"][name] == EXPECTED[name]


def test_every_construct_is_in_the_table() -> None:
    lowered = structural(Fields)
    assert set(lowered["properties"]) == set(EXPECTED)
    assert lowered["required"] == ["text", "text_bounds"]


def test_rules_become_cel_and_those_without_cel_are_left_out() -> None:
    reason = {"reason": "FieldValueInvalid"}
    assert structural(Ruled)["x-kubernetes-validations"] == [
        {"rule": "self.low < self.high", "message": "low must be less than high", "fieldPath": ".low", **reason},
        {"rule": "self.low != 7", "message": "not seven", **reason},
    ]


def test_a_default_inside_a_default_is_implied() -> None:
    schema = structural(Fields)["properties"]
    assert implied(schema["branch"]) == {"size": 3, "inner": 4}
    assert implied(schema["branch_changed"]) == {"size": 5, "inner": 4}
    assert implied(schema["leaf"]) is None


class Untyped(BaseModel):
    """A field of any type."""

    x: Any


class Unbounded(BaseModel):
    """Text without a bound."""

    x: str


class UnboundedList(BaseModel):
    """A list without a bound."""

    x: tuple[bool, ...]


class UnboundedMap(BaseModel):
    """A map without a bound."""

    x: dict[Short, bool]


class Union(BaseModel):
    """A union."""

    x: bool | int


class Pair(BaseModel):
    """Items of two types."""

    x: tuple[int, bool]


class Distinct(BaseModel):
    """A set: structural schemas know no `uniqueItems: true`."""

    x: Annotated[set[int], Field(max_length=4)]


class Nothing(BaseModel):
    """Only null."""

    x: None


class UnknownFormat(BaseModel):
    """A format of ours."""

    x: Annotated[str, Field(max_length=9, json_schema_extra={"format": "cron"})]


class UnknownWord(BaseModel):
    """A word that nothing knows."""

    x: Annotated[int, Field(json_schema_extra={"readOnly": True})]


class OddKeys(BaseModel):
    """Keys with a lower bound."""

    x: Annotated[dict[Annotated[str, StringConstraints(min_length=2)], int], Field(max_length=4)]


class Open(BaseModel, extra="allow"):
    """An object with fields and others."""

    y: bool = True


class HoldsOpen(BaseModel):
    """Holds it."""

    x: Open


@pytest.mark.parametrize(
    ("model", "path", "says"),
    [
        (Untyped, "x", "the type None"),
        (Unbounded, "x", "a text without a bound (maxLength)"),
        (UnboundedList, "x", "a list without a bound (maxItems)"),
        (UnboundedMap, "x", "a map without a bound (maxProperties)"),
        (Union, "x", "a union of types other than int-or-string"),
        (Pair, "x", "without one type of items"),
        (Distinct, "x", "uniqueItems"),
        (Nothing, "x", "the type 'null'"),
        (UnknownFormat, "x", "the format cron"),
        (UnknownWord, "x", "readOnly"),
        (OddKeys, "x", "minLength of a map's keys"),
        (HoldsOpen, "x", "an object with fields and with other keys too"),
        (Endless, "again", "Endless holds itself"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_an_unknown_construct_raises_with_its_path(model: type[BaseModel], path: str, says: str) -> None:
    with pytest.raises(UnknownConstructError, match=re.escape(says)) as caught:
        structural(model)
    assert caught.value.path == path


def test_the_path_goes_through_lists_and_maps() -> None:
    class Deep(BaseModel):
        """Deep."""

        items: Annotated[tuple[Annotated[dict[Short, Unbounded], Field(max_length=3)], ...], Field(max_length=3)]

    with pytest.raises(UnknownConstructError, match="a text without a bound") as caught:
        structural(Deep)
    assert caught.value.path == "items[]{}.x"
