"""The lowering: from the models to what the Kubernetes API server takes, structural schemas and whole CRDs.

It starts from pydantic's JSON Schema. What a structural schema can't say in the same words is said in others:
references are inlined, "or null" is dropped (absence is null's only form), rules become CEL, the form of a map's keys
becomes a CEL rule, a map with known keys becomes an object. A construct that isn't known here raises, with its path, so
that nothing is lost in silence; so does a text, list or map without a bound, because the API server prices rules by the
bounds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel

from tidemill_api.v1alpha1 import GROUP, VERSION, Resource

Schema = dict[str, Any]
"""A JSON Schema or a structural schema, as plain JSON."""

_SILENT: Final = frozenset({"title", "examples"})
_UNSEEN: Final = {"default": {"observedGeneration": -1}}
"""The status of an object that no operator has seen: without one, kstatus (Flux, kpt) would take it for done."""
"""Keys that say nothing which a structural schema could hold."""
_ROOT_TEXTS: Final = {
    "apiVersion": "Version of the schema of this object: the group and the version.",
    "kind": "Kind of this object.",
}


class UnknownConstructError(Exception):
    """The lowering met something it can't express. `path` says where."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path or '(root)'}: {what}")
        self.path = path


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the lowering is, and what holds there."""

    path: str = ""
    defaults: bool = True
    """Whether defaults are kept: not inside lists (Argo CD sees drift) and not in the status (nobody wrote it)."""
    explains: bool = True
    """Whether a default that isn't kept is told in the description: not in the status."""
    for_people: bool = False
    """Keep what only people read (see `root`)."""
    within: tuple[str, ...] = ()
    """Definitions that are being inlined, outermost first."""

    def field(self, name: str) -> _Place:
        return replace(self, path=f"{self.path}.{name}".removeprefix("."))

    def item(self) -> _Place:
        return replace(self, path=f"{self.path}[]", defaults=self.for_people)

    def value(self) -> _Place:
        return replace(self, path=f"{self.path}{{}}", defaults=self.for_people)


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model that is no root. Raises UnknownConstructError."""
    schema = model.model_json_schema(by_alias=True)
    return _lower(schema, schema.pop("$defs", {}), _Place())


def root(kind: type[Resource], for_people: bool = False) -> Schema:
    """The structural schema of a kind, as it stands in a CRD. Raises UnknownConstructError.

    `for_people` (the reference, editors) it also has what the API server can't take: defaults inside lists, examples,
    and under `x-tidemill-rules` all rules with `message`, `field` and, where the server holds it too, `cel`.
    """
    schema = kind.model_json_schema(by_alias=True)
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    fields: Mapping[str, Schema] = schema["properties"]
    lowered: Schema = {
        "type": "object",
        "description": schema["description"],
        "required": ["spec"],
        "properties": {name: {"type": "string", "description": text} for name, text in _ROOT_TEXTS.items()}
        | {"metadata": _metadata(kind)},
    }
    place = _Place(for_people=for_people)
    lowered["properties"]["spec"] = _lower(fields["spec"], definitions, place.field("spec"))
    status = replace(place.field("status"), defaults=False, explains=False)
    lowered["properties"]["status"] = _lower(fields["status"], definitions, status) | _UNSEEN
    if others := set(fields) - set(lowered["properties"]):
        raise UnknownConstructError("", f"a kind has apiVersion, kind, metadata, spec and status, and not {others}")
    return lowered | _rules(schema)


def _metadata(kind: type[Resource]) -> Schema:
    """The API server knows metadata by itself; a rule's field must stand in the schema all the same."""
    named = any(rule.field == ".metadata.name" for rule in kind.rules)
    return {"type": "object"} | ({"properties": {"name": {"type": "string"}}} if named else {})


def crd(kind: type[Resource]) -> Schema:
    """The CustomResourceDefinition of a kind, as plain JSON."""
    served, name = kind.served, kind.kind_name()
    subresources: Schema = {"status": {}}
    if served.scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    columns = [
        {"name": c.name, "type": c.type, "jsonPath": c.path} | ({"priority": 1} if c.wide else {})
        for c in served.columns
    ]
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "subresources": subresources,
        "schema": {"openAPIV3Schema": root(kind)},
    }
    if served.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in served.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{served.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": served.plural,
                "singular": name.lower(),
                "shortNames": [served.short_name],
                "categories": ["tidemill"],
            },
            "versions": [version],
        },
    }


def _inline(node: Mapping[str, Any], definitions: Mapping[str, Schema], place: _Place) -> tuple[Schema, _Place]:
    """The node with its references followed and "or null" dropped; what stands beside a reference wins over it."""
    found = dict(node)
    while True:
        if "$ref" in found:
            name = str(found.pop("$ref")).removeprefix("#/$defs/")
            if name in place.within:
                raise UnknownConstructError(place.path, f"{name} holds itself, which a structural schema can't say")
            if name not in definitions:
                raise UnknownConstructError(place.path, f"a reference to {name}, which isn't defined")
            place = replace(place, within=(*place.within, name))
            found = {**definitions[name], **found}
        elif "anyOf" in found:
            choices = [choice for choice in found.pop("anyOf") if choice != {"type": "null"}]
            if len(choices) != 1:
                raise UnknownConstructError(place.path, "a union of types other than int-or-string")
            found = {**choices[0], **found}
        else:
            return found, place


def _lower(node: Mapping[str, Any], definitions: Mapping[str, Schema], place: _Place) -> Schema:
    found, place = _inline(node, definitions, place)
    rest = {key: value for key, value in found.items() if key not in _SILENT}
    lowered: Schema = {}
    if place.for_people:
        lowered |= {key: found[key] for key in ("examples", "x-tidemill-rules") if key in found}
    if "description" in rest:
        lowered["description"] = " ".join(str(rest.pop("description")).split())
    default = rest.pop("default", None)
    rules = _rules({"x-tidemill-rules": rest.pop("x-tidemill-rules", ())})
    lowered |= _typed(rest, definitions, place)
    if rest:
        raise UnknownConstructError(place.path, f"{', '.join(sorted(rest))} of type {lowered.get('type')}")
    if place.defaults:
        lowered |= _default(default, lowered)
    elif place.explains and isinstance(default, str | int | float) and "description" in lowered:
        lowered["description"] += f" Default: {json.dumps(_whole(default), ensure_ascii=False)}."
    own = lowered.pop("x-kubernetes-validations", [])
    if both := [*own, *rules.get("x-kubernetes-validations", [])]:
        lowered["x-kubernetes-validations"] = both
    return lowered


def _typed(rest: Schema, definitions: Mapping[str, Schema], place: _Place) -> Schema:
    """What is said of the values; takes out of `rest` all that it has understood."""
    match rest.get("type"):
        case "object":
            return _object(rest, definitions, place)
        case "array":
            return _array(rest, definitions, place)
        case "string":
            return _string(rest, place)
        case "integer" | "number":
            return _number(rest)
        case "boolean":
            return {"type": rest.pop("type")}
        case None if rest.get("x-kubernetes-int-or-string") is True:
            return _int_or_string(rest, place)
        case other:
            raise UnknownConstructError(place.path, f"the type {other!r} with {sorted(rest)}")


def _object(rest: Schema, definitions: Mapping[str, Schema], place: _Place) -> Schema:
    lowered: Schema = {"type": rest.pop("type")}
    values = rest.pop("additionalProperties", False)
    keys: Schema = dict(rest.pop("propertyNames", {}))
    by_pattern: Schema = rest.pop("patternProperties", {})
    if len(by_pattern) == 1 and values is False and "pattern" not in keys:
        [(keys["pattern"], values)] = by_pattern.items()
    elif by_pattern:
        raise UnknownConstructError(place.path, "fields by several patterns")
    properties: Mapping[str, Schema] = rest.pop("properties", {})
    required = rest.pop("required", None)
    if values is True and not properties and not keys:
        return lowered | {"x-kubernetes-preserve-unknown-fields": True}
    if isinstance(values, dict) and not properties and required is None:
        if "enum" in keys:
            names = keys.pop("enum")
            _no_more(keys, place)
            return lowered | {"properties": {n: _lower(values, definitions, place.field(n)) for n in names}}
        return lowered | _map(rest, keys, _lower(values, definitions, place.value()), place)
    if values is not False or keys:
        raise UnknownConstructError(place.path, "an object with fields and with other keys too")
    if properties:  # the server drops an empty map, and what is installed would look changed
        lowered["properties"] = {n: _lower(node, definitions, place.field(n)) for n, node in properties.items()}
    return lowered | ({"required": required} if required else {})


def _map(rest: Schema, keys: Schema, values: Schema, place: _Place) -> Schema:
    """A map. A structural schema has no word for the form of its keys: CEL has."""
    if "maxProperties" not in rest:
        raise UnknownConstructError(place.path, "a map without a bound (maxProperties)")
    lowered: Schema = {"additionalProperties": values, "maxProperties": rest.pop("maxProperties")}
    keys.pop("examples", None)
    longest, pattern = keys.pop("maxLength", None), keys.pop("pattern", None)
    _no_more(keys, place)
    if longest is None and pattern is None:
        return lowered
    conditions = [f"size(k) <= {longest}"] if longest is not None else []
    texts = [f"have at most {longest} characters"] if longest is not None else []
    if pattern is not None:
        conditions.append(f"k.matches({json.dumps(pattern)})")
        texts.append(f"match {pattern}")
    rule = {"rule": f"self.all(k, {' && '.join(conditions)})", "message": f"keys must {' and '.join(texts)}"}
    return lowered | {"x-kubernetes-validations": [rule | {"reason": "FieldValueInvalid"}]}


def _array(rest: Schema, definitions: Mapping[str, Schema], place: _Place) -> Schema:
    if "maxItems" not in rest or "items" not in rest:
        raise UnknownConstructError(place.path, "a list without a bound (maxItems) or without one type of items")
    lowered: Schema = {"type": rest.pop("type"), "items": _lower(rest.pop("items"), definitions, place.item())}
    known = ("minItems", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys")
    return lowered | {key: rest.pop(key) for key in known if key in rest}


def _string(rest: Schema, place: _Place) -> Schema:
    lowered: Schema = {"type": rest.pop("type")}
    if "const" in rest:
        lowered["enum"] = [rest.pop("const")]
    lowered |= {k: rest.pop(k) for k in ("enum", "format", "pattern", "minLength", "maxLength") if k in rest}
    if "enum" not in lowered and "maxLength" not in lowered:
        raise UnknownConstructError(place.path, "a text without a bound (maxLength)")
    if lowered.get("format") not in {None, "date-time"}:
        raise UnknownConstructError(place.path, f"the format {lowered['format']}")
    return lowered


def _number(rest: Schema) -> Schema:
    lowered: Schema = {"type": rest.pop("type")}
    for key, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if key in rest:
            lowered[key] = _whole(rest.pop(key))
        elif exclusive in rest:  # OpenAPI v3.0 keeps the bound beside a flag
            lowered |= {key: _whole(rest.pop(exclusive)), exclusive: True}
    return lowered | {key: rest.pop(key) for key in ("multipleOf", "enum") if key in rest}


def _int_or_string(rest: Schema, place: _Place) -> Schema:
    lowered: Schema = {k: rest.pop(k) for k in ("x-kubernetes-int-or-string", "maxLength", "pattern") if k in rest}
    if "maxLength" not in lowered:
        raise UnknownConstructError(place.path, "a text without a bound (maxLength)")
    return {**lowered, "anyOf": [{"type": "integer"}, {"type": "string"}]}


def _default(default: object, lowered: Schema) -> Schema:
    """The `default` of a lowered node. Nothing, for one that says no more than absence does.

    An object's default leaves out what the defaults of its fields say: the API server applies them inside it.
    """
    if default is None or default in ([], ()):
        return {}
    if not isinstance(default, dict):
        return {"default": _whole(default)}
    fields: Mapping[str, Schema] = lowered.get("properties", {})
    own = {k: v for k, v in default.items() if v is not None and not _same(v, implied(fields.get(k, {})))}
    if own or implied({"default": {}, **lowered}):
        return {"default": own}
    return {}


def implied(lowered: Mapping[str, Any]) -> Any:
    """What the API server puts where a value of this schema is absent: its default with the defaults inside it."""
    default = lowered.get("default")
    if not isinstance(default, dict):
        return default
    fields: Mapping[str, Schema] = lowered.get("properties", {})
    inside = {name: value for name, field in fields.items() if (value := implied(field)) is not None}
    return inside | default


def _same(value: object, other: object) -> bool:
    """Whether two defaults mean the same; empty lists and maps mean absence."""
    if isinstance(value, dict) and isinstance(other, dict | None):
        others = other or {}
        return all(_same(value.get(k), others.get(k)) for k in {*value, *others})
    return (value or None) == (other or None) if value in ([], None) or other in ([], None) else value == other


def _rules(node: Mapping[str, Any]) -> Schema:
    validations = [
        {"rule": rule["cel"], "message": rule["message"]}
        | ({"fieldPath": rule["field"]} if rule["field"] else {})
        | {"reason": "FieldValueInvalid"}
        for rule in node.get("x-tidemill-rules", ())
        if "cel" in rule
    ]
    return {"x-kubernetes-validations": validations} if validations else {}


def _whole(value: Any) -> Any:
    """`2.0` as `2`: the API server would give it back so, and a comparison would see a difference."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _no_more(rest: Mapping[str, Any], place: _Place) -> None:
    if rest:
        raise UnknownConstructError(place.path, f"{', '.join(sorted(rest))} of a map's keys")
