"""What every object of ours has: metadata, conditions, and how the API server serves and prints its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from tidemill_api.v1alpha1._base import ListKey, Model


class Condition(Model):
    """A standard Kubernetes condition."""

    type: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9]*)$", max_length=316)]
    """Type of the condition, such as Ready."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    reason: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9]*)$", max_length=128)]
    """A word for the reason, in CamelCase, stable for programs."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """A sentence for people."""
    last_transition_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
    """When the status last changed (RFC 3339)."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that the condition speaks of."""


class ObjectMeta(BaseModel):
    """The part of a Kubernetes object's metadata that Tidemill reads. It ignores what it doesn't know."""

    model_config = ConfigDict(
        frozen=True, defer_build=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )

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


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16), ListKey("type")]
"""Conditions, one of each type."""

Generation = Annotated[int, Field(ge=-1)]
"""A generation of an object's spec; -1 where the operator has seen none: the API server puts it into new objects."""


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column of `kubectl get`; `wide` ones show with `-o wide` only."""

    name: str
    path: str
    """JSONPath within the object, with a leading dot."""
    type: Literal["string", "integer", "number", "boolean", "date"] = "string"
    wide: bool = False


AGE = PrinterColumn("Age", ".metadata.creationTimestamp", "date")


def condition(kind: str, part: Literal["status", "message"]) -> str:
    """The JSONPath of a part of a condition."""
    return f'.status.conditions[?(@.type=="{kind}")].{part}'


@dataclass(frozen=True, slots=True)
class Served:
    """How the API server serves a kind."""

    plural: str
    short_name: str
    columns: tuple[PrinterColumn, ...]
    scale: bool = False
    """With a scale subresource over spec.replicas, status.replicas and status.selector."""
    selectable: tuple[str, ...] = ()
    """JSONPaths of fields that a field selector may use."""


class Resource(Model):
    """The root of a kind. Each has `apiVersion`, `kind`, `spec` and `status` of its own besides."""

    served: ClassVar[Served]

    metadata: ObjectMeta
    """Name, namespace, labels and annotations, as of any Kubernetes object."""

    @classmethod
    def kind_name(cls) -> str:
        """`DataPipeline`."""
        return str(cls.model_fields["kind"].default)
