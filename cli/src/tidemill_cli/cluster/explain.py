"""Every field and its default, without a cluster: from files that are made of the models (`make generate`)."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from tidemill_cli.cluster.kubectl import ClusterError

Fields = dict[str, Any]
"""A kind: its names, description and `fields` by path, as `tools/generators/fields.py` writes them."""

_KINDS = ("datapipeline", "datapipelinerun", "temporalconnection", "workerpool")


def kinds() -> list[Fields]:
    """All kinds."""
    folder = files("tidemill_cli") / "fields"
    return [json.loads((folder / f"{kind}.json").read_text(encoding="utf-8")) for kind in _KINDS]


def look_up(path: str) -> tuple[Fields, str]:
    """The kind and the full path of a field, such as `datapipeline.spec.schedule.catchupWindow`.

    Indexes may be there or not. The path is empty for the kind itself. Raises ClusterError for what isn't there.
    """
    word, _, rest = path.partition(".")
    every = kinds()
    kind = next((each for each in every if word.lower() in (each["kind"].lower(), *each["names"])), None)
    if kind is None:
        raise ClusterError(f"{word} is no kind: choose {', '.join(each['kind'].lower() for each in every)}")
    plain = {_plain(field): field for field in kind["fields"]}
    wanted = _plain(rest)
    if not wanted:
        return kind, ""
    if wanted not in plain:
        raise ClusterError(f"{kind['kind']} has no field {rest}: {_hint(plain, wanted)}")
    return kind, plain[wanted]


def text(kind: Fields, path: str, *, deep: bool) -> Iterator[str]:
    """What is known of a field, and the fields below it: all of them (`deep`), or the next ones."""
    yield f"{kind['kind']} ({kind['apiVersion']}; kubectl knows it as {', '.join(kind['names'])})"
    told = kind["fields"].get(path)
    if told is None:
        yield from ("", kind["description"])
    else:
        yield from ("", f"{path}   <{'; '.join(told['facts'])}>", f"  {told.get('description', '')}")
        yield from (f"  For example {json.dumps(example, ensure_ascii=False)}" for example in told.get("examples", ()))
        yield from (f"  Rule: {rule}" for rule in told.get("rules", ()))
    start = f"{_plain(path)}." if path else ""
    below = [
        (field, each)
        for field, each in kind["fields"].items()
        if _plain(field).startswith(start) and (deep or "." not in _plain(field)[len(start) :])
    ]
    if below:
        yield from ("", "Fields:")
    for field, each in below:
        rest = _plain(field)[len(start) :]
        indent = "  " * (rest.count(".") + 1)
        yield f"{indent}{rest.rpartition('.')[2]}   <{'; '.join(each['facts'])}>"
        yield f"{indent}  {each.get('description', '')}"


def paths() -> list[str]:
    """All that can be explained, for completion."""
    return [
        ".".join(filter(None, (kind["kind"].lower(), _plain(field))))
        for kind in kinds()
        for field in ("", *kind["fields"])
    ]


def _plain(path: str) -> str:
    return re.sub(r"\[\d*\]|\.\*", "", path)


def _hint(plain: dict[str, str], wanted: str) -> str:
    """The field that was meant, if one is near; else what there is in its place."""
    above = wanted.rpartition(".")[0]
    beside = [name for name in plain if name.rpartition(".")[0] == above]
    if near := difflib.get_close_matches(wanted, beside or plain, n=1, cutoff=0.85 if beside else 0.6):
        return f"did you mean {near[0]}?"
    names = ", ".join(name.rpartition(".")[2] for name in beside)
    return f"{above or 'it'} has {names}" if names else f"look at {above} or above"
