"""The types that the fields of all kinds share: lengths of time, sizes, names, moments, references."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError

from tidemill_api.v1alpha1._base import Model, Rule


def int_or_string(what: str, max_length: int, pattern: str | None = None) -> Any:
    """Annotations of a value that is text or a whole number, the one union that a structural schema can express."""
    text = re.compile(pattern) if pattern else None

    def check(value: Any) -> str | int:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise PydanticCustomError("int_or_string", "must be {what}", {"what": what})
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                raise PydanticCustomError("int_or_string", "must fit 64 bits", {})
        elif len(value) > max_length or (text and not text.search(value)):
            raise PydanticCustomError("int_or_string", "must be {what}", {"what": what})
        return value

    schema: JsonSchemaValue = {"x-kubernetes-int-or-string": True, "maxLength": max_length}
    return PlainValidator(check), WithJsonSchema(schema | ({"pattern": pattern} if pattern else {}))


_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION_PATTERN: Final = r"^([0-9]{1,6}(ms|s|m|h|d))+$"
ZERO_DURATION: Final = "^(0+(ms|s|m|h|d))+$"
"""What a duration of no length looks like, for CEL."""
_DURATION_PART: Final = re.compile(r"([0-9]{1,6})(ms|s|m|h|d)")


def parse_duration(text: str) -> timedelta:
    """`1h30m` as a timedelta. Units: ms, s, m, h, d. Raises ValueError for anything else."""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration: write it like 30s, 10m, 1h30m or 7d")
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(text)))


_BYTES: Final = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}
BYTES_PATTERN: Final = r"^[0-9]{1,12}(Ki|Mi|Gi|k|M|G)?$"


def parse_bytes(text: str) -> int:
    """`64Mi` as a number of bytes, in Kubernetes' units. Raises ValueError for anything else."""
    match = re.fullmatch(r"([0-9]{1,12})(Ki|Mi|Gi|k|M|G)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a size: write it like 64Mi, 1Gi or 1000000")
    return int(match[1]) * _BYTES[match[2] or ""]


Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=32, examples=["30s", "10m", "1h30m", "7d"])]
"""A length of time: digits and a unit (ms, s, m, h, d), parts may follow each other."""

ByteSize = Annotated[str, Field(pattern=BYTES_PATTERN, max_length=16, examples=["64Mi", "1Gi"])]
"""A number of bytes in Kubernetes' units."""

ObjectName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        max_length=253,
        examples=["flights"],
    ),
]
"""The name of a Kubernetes object (DNS-1123 subdomain)."""

PartName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9_]*[a-z0-9])?$", max_length=63, examples=["raw"])]
"""The name of a source, step, sink, rule, check or connection."""

ParameterName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=63, examples=["carrier"])]
"""The name of a parameter, as SQL uses it after `$`."""

Identifier = Annotated[
    str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=63, examples=["dep_delay", "Cost Total $"])
]
"""The name of a column: anything printable that Postgres can keep (63 bytes). It is quoted wherever it is used."""

SQLName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_$]*$", max_length=63, examples=["public"])]
"""The name of a schema in Postgres. Case is kept."""

Scalar = Annotated[str | int, *int_or_string("text or a whole number; write others as text: 'true', '0.5'", 4096)]
"""A parameter's value: text or a whole number. Booleans, fractions and dates are written as text.

A schema type that also took booleans would be invisible to the API server's rules: it could neither refuse a change of
a run's parameters nor see that a default is there.
"""

Quantity = Annotated[
    str | int,
    *int_or_string(
        "a quantity such as 250m, 2, '1.5' or 512Mi", 32, r"^[0-9]{1,15}(\.[0-9]{1,9})?([KMGTPE]i|[mkMGTPE])?$"
    ),
]
"""An amount of CPU or memory in Kubernetes' notation."""


def null_is_absence(*known: str) -> BeforeValidator:
    """For maps: the API server reads a key whose value is null as absent; of a map with known keys, those only."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None or (known and key not in known)}

    return BeforeValidator(read)


def _moment_exists(text: str) -> str:
    try:
        parse_timestamp(text)
    except ValueError as error:
        raise PydanticCustomError("timestamp", "is no moment: {why}", {"why": str(error)}) from None
    return text


def parse_timestamp(text: str) -> datetime:
    """An RFC 3339 moment, with its offset. Raises ValueError for a day or an hour that doesn't exist."""
    return datetime.fromisoformat(text)


Timestamp = Annotated[
    str,
    Field(
        max_length=40,
        pattern=r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
        r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
        examples=["2026-01-01T00:00:00Z"],
        json_schema_extra={"format": "date-time"},
    ),
    AfterValidator(_moment_exists),
]
"""A moment (RFC 3339)."""


_AGO: Final = re.compile(DURATION_PATTERN)


def parse_moment(text: str, now: datetime) -> datetime:
    """`24h` before now, or an RFC 3339 moment. Raises ValueError, OverflowError."""
    return now - parse_duration(text) if _AGO.search(text) else parse_timestamp(text)


def _exists(text: str) -> bool:
    try:
        parse_timestamp(text)
    except ValueError:
        return False
    return True


def moment_rule(field: str, attribute: str) -> Rule:
    """That the moment exists which an optional `MomentOrAgo` names."""

    def holds(model: Any) -> bool:
        value = getattr(model, attribute)
        return value is None or _AGO.search(value) is not None or _exists(value)

    at = f"self.{field}"
    return Rule(
        cel=f"!has({at}) || !{at}.contains('T') || !format.datetime().validate({at}).hasValue()",
        message=f"{field} is no moment that exists",
        holds=holds,
        field=f".{field}",
    )


MomentOrAgo = Annotated[
    str,
    Field(
        max_length=40,
        pattern=r"^(([0-9]{1,6}(ms|s|m|h|d))+|[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
        r"(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))$",
        examples=["24h", "2026-01-01T00:00:00Z"],
    ),
]
"""A moment (RFC 3339), or how long ago it was (`24h`)."""


class LocalRef(Model):
    """A reference to an object of the same namespace."""

    name: ObjectName
    """Name of the object, in this namespace."""


class SecretKeyRef(Model):
    """One key of a Secret of the same namespace."""

    name: ObjectName
    """Name of the Secret, in this namespace."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
    """Key within the Secret."""


class ConfigMapKeyRef(Model):
    """One key of a ConfigMap of the same namespace."""

    name: ObjectName
    """Name of the ConfigMap, in this namespace."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253, examples=["named.sql"])]
    """Key within the ConfigMap's `data`."""


class SecretValue(Model):
    """A value that is kept in a Secret; it never stands in a manifest."""

    secret_key_ref: SecretKeyRef
    """Where the value is kept."""
