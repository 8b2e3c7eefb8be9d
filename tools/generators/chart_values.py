"""The chart's `values.schema.json` and README.md, from the comments in its `values.yaml`.

A comment `# -- text` above a value describes it; `# @schema {...}` adds to what its default shows of its type. An
object takes no other keys than those shown, unless it is `{"free": true}`. Values that are no more: `deprecated.yaml`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FOLDER = "helm/tidemill"
SHARED = True
"""The folder holds files of other origin too."""
CHART = Path(__file__).resolve().parents[2] / FOLDER
_HEAD = """# Tidemill's chart

Made by `make generate` from the comments in [values.yaml](values.yaml); edit those.

```sh
helm install tidemill helm/tidemill --namespace tidemill-system --create-namespace \\
  --set temporal.address=temporal-frontend.temporal.svc:7233
```

[How to install](../../docs/how-to/install.md) says what to give, how to upgrade and what an uninstall leaves.
"""


class ValuesError(Exception):
    """values.yaml doesn't say enough; the message names the value."""


@dataclass(frozen=True)
class Value:
    """One value: its path, default, description, and what its comment adds to the schema."""

    path: tuple[str, ...]
    default: Any
    description: str
    hints: Mapping[str, Any]

    @property
    def dotted(self) -> str:
        """As `--set` has it."""
        return ".".join(self.path)

    @property
    def is_group(self) -> bool:
        """Whether it only holds others."""
        return isinstance(self.default, Mapping) and not self.hints.get("free")


def files(chart: Path = CHART) -> dict[str, str]:
    """The schema and the README of the chart in that folder."""
    values = tuple(read(chart))
    deprecated = YAML(typ="safe").load((chart / "deprecated.yaml").read_text(encoding="utf-8")) or {}
    return {
        "values.schema.json": json.dumps(_schema(values, deprecated), indent=1) + "\n",
        "README.md": f"{_HEAD}\n## Values\n\n{table(values)}",
    }


def read(chart: Path) -> Iterator[Value]:
    """All values in the order of the file, groups before what they hold."""
    text = (chart / "values.yaml").read_text(encoding="utf-8")
    yield from _below((), YAML().load(text), text.splitlines(), YAML(typ="safe").load(text))


def table(values: tuple[Value, ...]) -> str:
    """A table of all values that can be given."""
    lines = ["| value | default | what it does |", "|---|---|---|"]
    for value in values:
        if not value.is_group:
            default = json.dumps(value.default).replace("|", "\\|")
            lines.append(f"| `{value.dotted}` | `{default}` | {value.description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _below(path: tuple[str, ...], node: Any, lines: list[str], plain: Any) -> Iterator[Value]:
    for key in node:
        description, hints = _comment(lines, node.lc.key(key)[0])
        value = Value((*path, str(key)), plain[key], description, hints)
        if not value.is_group and not description:
            raise ValuesError(f"{value.dotted}: there is no comment `# -- ...` above it")
        yield value
        if value.is_group:
            yield from _below(value.path, node[key], lines, plain[key])


def _comment(lines: list[str], line: int) -> tuple[str, Mapping[str, Any]]:
    """Description and hints from the comment that ends right above a line."""
    begin = line
    while begin > 0 and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    words: list[str] = []
    hints: Mapping[str, Any] = {}
    for text in (each.strip().removeprefix("#").strip() for each in lines[begin:line]):
        if text.startswith("@schema"):
            hints = json.loads(text.removeprefix("@schema"))
        elif text.startswith("--"):
            words = [text.removeprefix("--").strip()]
        elif words:
            words.append(text)
    return " ".join(words), hints


def _schema(values: tuple[Value, ...], deprecated: Mapping[str, str]) -> dict[str, Any]:
    root = _object()
    places: dict[tuple[str, ...], dict[str, Any]] = {(): root}
    for value in values:
        if value.is_group:
            entry = places[value.path] = _object()
        else:
            entry = {"description": value.description, **_type(value), **_given(value.hints)}
        places[value.path[:-1]]["properties"][value.path[-1]] = entry
    for dotted, sentence in deprecated.items():
        *group, last = dotted.split(".")
        holder = root
        for name in group:
            holder = holder["properties"].setdefault(name, _object())
        # Let through, so that the template can say what to do instead.
        holder["properties"][last] = {"deprecated": True, "description": sentence}
    # Helm hands the values of a subchart's parent down, and `global` is everybody's.
    root["properties"]["global"].pop("additionalProperties")
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of Tidemill's chart", **root}


def _object() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _type(value: Value) -> dict[str, Any]:
    match value.default:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case list():
            if "items" not in value.hints:
                raise ValuesError(f'{value.dotted}: a list needs a comment `# @schema {{"items": ...}}`')
            return {"type": "array"}
        case dict():
            return {"type": "object"}
        case _:
            raise ValuesError(f"{value.dotted}: its default must be a string, number, boolean, list or map")


def _given(hints: Mapping[str, Any]) -> dict[str, Any]:
    return {name: hint for name, hint in hints.items() if name != "free"}
