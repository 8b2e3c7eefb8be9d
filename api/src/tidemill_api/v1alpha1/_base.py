"""The one base of all models: what a model is, its rules, and how errors name their place.

A cross-field rule is declared once, as a `Rule`: its CEL text goes into the CRD, its Python twin runs when a
manifest is read without a cluster (`tidemill lint`, the worker). A test holds the two against each other on a real
API server. For the same reason models are strict (`"8"` is no number) and read an explicit null as an absent field,
as the API server does.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, LiteralString, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, ValidationError, core_schema


@dataclass(frozen=True, slots=True)
class Rule:
    """A cross-field rule of a model.

    `cel` is evaluated by the API server with `self` bound to the object (and `oldSelf` in a rule about a change), or is
    None for what CEL can't say: then the operator and `tidemill lint` give the verdict. `holds` is its Python twin and
    takes the model. `field` names the field at fault, relative to the object, with a leading dot as the API server
    wants it (`.primaryKey`), or is empty for the object itself.
    """

    cel: str | None
    message: str
    holds: Callable[[Any], bool]
    field: str = ""


class Model(BaseModel):
    """A frozen model whose JSON names are camelCase and which refuses fields it doesn't know."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        defer_build=True,  # a process pays at its start for the models that it uses, not for all
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _as_the_api_server_reads(cls, data: Any) -> Any:
        """A field's null means absent, 5.0 is 5, a JSON array is a tuple: strictness would refuse them."""
        if not isinstance(data, dict):
            return data
        known = _names(cls)
        return {name: _read(value) for name, value in data.items() if value is not None or name not in known}

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        broken = [rule for rule in type(self).rules if not rule.holds(self)]
        if broken:
            raise _errors(
                type(self).__name__,
                [("rule", tuple(part for part in rule.field.split(".") if part), rule.message) for rule in broken],
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        # pydantic's own `use_attribute_docstrings` reads the source of each model when it is imported, which takes
        # a worker's start longer than the rest of the models; only schemas need the texts.
        for name, text in _attribute_docs(cls).items():
            field = cls.model_fields[name]
            if field.description is None:
                schema["properties"][field.alias or name]["description"] = text
        if cls.rules:
            schema["x-tidemill-rules"] = [
                {"message": rule.message, "field": rule.field} | ({"cel": rule.cel} if rule.cel else {})
                for rule in cls.rules
            ]
        return schema

    def to_json(self) -> dict[str, Any]:
        """The object as Kubernetes keeps it: camelCase names, unset and null fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


def _read(value: Any) -> Any:
    match value:
        case list():
            return tuple(value)
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


@cache
def _attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings below the fields of a model and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base is BaseModel or not issubclass(base, BaseModel):
            continue
        try:
            source = inspect.getsource(base)
        except OSError:  # made by a program (pydantic's create_model): it has no text
            continue
        [definition] = ast.parse(textwrap.dedent(source)).body
        assert isinstance(definition, ast.ClassDef)
        for before, after in pairwise(definition.body):
            match before, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    if name in model.model_fields:
                        found[name] = inspect.cleandoc(text)
                case _:
                    pass
    return found


@cache
def _names(model: type[BaseModel]) -> frozenset[str]:
    """By what names the fields of a model go: in JSON and in Python."""
    return frozenset(name for python, field in model.model_fields.items() for name in (python, field.alias or python))


def _errors(title: str, problems: list[tuple[LiteralString, tuple[str | int, ...], str]]) -> ValidationError:
    """Problems (type, place relative to the value, message) as the error that pydantic merges into its own."""
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(type=PydanticCustomError(kind, "{message}", {"message": text}), loc=loc, input=None)
            for kind, loc, text in problems
        ],
    )


def field_path(loc: tuple[str | int, ...]) -> str:
    """The place of a pydantic error as Kubernetes writes it: `("spec", "sinks", 0)` becomes `spec.sinks[0]`."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            path += f".{part}"
    return path.removeprefix(".")


@dataclass(frozen=True, slots=True)
class ListKey:
    """Marks a list whose items are told apart by one field: the API server refuses (and merges) by it, and so do we."""

    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._distinct, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core) | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}

    def _distinct(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        keys = [getattr(item, self.key) for item in items]
        if len(set(keys)) < len(keys):
            problems = [(i, key) for i, key in enumerate(keys) if key in keys[:i]]
            raise _errors("list", [("duplicate", (i,), f"Duplicate value: {self.key} {key!r}") for i, key in problems])
        return items
