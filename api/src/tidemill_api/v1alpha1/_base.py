"""The one base of all models, and the types that their fields share.

A cross-field rule is declared once, as a `Rule`: its CEL text goes into the CRD, its Python twin runs when a
manifest is read without a cluster (`tidemill lint`, the worker). A test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError


@dataclass(frozen=True, slots=True)
class Rule:
    """A cross-field rule of a model.

    `cel` is evaluated by the API server with `self` bound to the object (and `oldSelf` for `transition` rules);
    `holds` is its Python twin and takes the model. `field` names the field at fault, relative to the object, with a
    leading dot as the API server wants it (`.primaryKey`), or is empty for the object itself.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]
    field: str = ""


class Model(BaseModel):
    """A frozen model whose JSON names are camelCase and which refuses fields it doesn't know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        broken = [rule for rule in type(self).rules if not rule.holds(self)]
        if broken:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("rule", "{message}", {"message": rule.message}),
                        loc=tuple(part for part in rule.field.split(".") if part),
                        input=None,
                    )
                    for rule in broken
                ],
            )
        return self

    def to_json(self) -> dict[str, Any]:
        """The object as Kubernetes keeps it: camelCase names, unset and null fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION_PATTERN: Final = r"^([0-9]{1,9}(ms|s|m|h|d))+$"
_DURATION_PART: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")


def parse_duration(text: str) -> timedelta:
    """`1h30m` as a timedelta. Units: ms, s, m, h, d. Raises ValueError for anything else."""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration: write it like 30s, 10m, 1h30m or 7d")
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(text)))


_BYTES: Final = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}
BYTES_PATTERN: Final = r"^[0-9]{1,12}(Ki|Mi|Gi|k|M|G)?$"


def parse_bytes(text: str) -> int:
    """`64Mi` as a number of bytes, in Kubernetes' units. Raises ValueError for anything else."""
    if not re.fullmatch(BYTES_PATTERN, text):
        raise ValueError(f"{text!r} is not a size: write it like 64Mi, 1Gi or 1000000")
    number, unit = re.fullmatch(r"([0-9]+)([A-Za-z]*)", text).groups()  # type: ignore[union-attr]  # matched above
    return int(number) * _BYTES[unit]


Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=32, examples=["30s", "10m", "1h30m", "7d"])]
"""A length of time: digits and a unit (ms, s, m, h, d), parts may follow each other."""

ByteSize = Annotated[str, Field(pattern=BYTES_PATTERN, max_length=16, examples=["64Mi", "1Gi"])]
"""A number of bytes in Kubernetes' units."""

ObjectName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253, examples=["flights"])
]
"""The name of a Kubernetes object (DNS-1123 subdomain)."""

PartName = Annotated[
    str, Field(pattern=r"^[a-z]([-a-z0-9_]*[a-z0-9])?$", min_length=1, max_length=63, examples=["raw"])
]
"""The name of a source, step, sink, rule, check or connection."""

Identifier = Annotated[
    str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=63, examples=["dep_delay", "Cost Total $"])
]
"""The name of a column: anything printable that Postgres can keep (63 bytes). It is quoted wherever it is used."""


class LocalRef(Model):
    """A reference to an object of the same namespace."""

    name: ObjectName
    """Name of the object, in this namespace."""


class SecretKeyRef(Model):
    """One key of a Secret of the same namespace."""

    name: ObjectName
    """Name of the Secret, in this namespace."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]
    """Key within the Secret."""


class SecretValue(Model):
    """A value that is kept in a Secret; it never stands in a manifest."""

    secret_key_ref: SecretKeyRef
    """Where the value is kept."""


class Condition(Model):
    """A standard Kubernetes condition."""

    type: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9]*)$", max_length=316)]
    """Type of the condition, such as Ready."""
    status: Annotated[str, Field(pattern=r"^(True|False|Unknown)$", max_length=7)]
    """True, False or Unknown."""
    reason: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9]*)$", min_length=1, max_length=128)]
    """A word for the reason, in CamelCase, stable for programs."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """A sentence for people."""
    last_transition_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
    """When the status last changed (RFC 3339)."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that the condition speaks of."""


class ObjectMeta(BaseModel):
    """The part of a Kubernetes object's metadata that Tidemill reads. It ignores what it doesn't know."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    annotations: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
