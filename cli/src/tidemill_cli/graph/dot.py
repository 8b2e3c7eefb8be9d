"""A picture in DOT, the language of Graphviz: `tidemill graph -o dot ... | dot -Tsvg`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tidemill_cli.graph.picture import Arrow, Kind, Node, Picture

_SHAPES: Final = {
    Kind.source: 'shape=box, style="rounded"',
    Kind.step: "shape=box",
    Kind.whole: "shape=box, peripheries=2",
    Kind.sink: "shape=cylinder",
    Kind.check: "shape=hexagon",
}
_ARROWS: Final = {
    Arrow.rows: "",
    Arrow.joined: ' [style=dashed, label="joined"]',
    Arrow.checked: " [style=dotted, arrowhead=none]",
}


def dot(drawn: Picture) -> str:
    """The text of a graph, with a line break at its end."""
    head = (f"digraph {_quoted(drawn.name)} {{", "  rankdir=LR;")
    return "\n".join((*head, *_nodes(drawn), *_edges(drawn), "}")) + "\n"


def _nodes(drawn: Picture) -> Iterator[str]:
    cut = len(drawn.waves) > 1
    for number, wave in enumerate(drawn.waves, start=1):
        if cut:
            yield f"  subgraph cluster_{number} {{"
            yield f'    label="wave {number}";'
        yield from (f"  {'  ' * cut}{_node(node)}" for node in wave)
        if cut:
            yield "  }"
    yield from (f"  {_node(node)}" for node in drawn.checks)


def _node(node: Node) -> str:
    return f"{_quoted(node.id)} [{_SHAPES[node.kind]}, label={_quoted(*node.lines)}];"


def _edges(drawn: Picture) -> Iterator[str]:
    for edge in drawn.edges:
        yield f"  {_quoted(edge.start)} -> {_quoted(edge.end)}{_ARROWS[edge.arrow]};"


def _quoted(*lines: str) -> str:
    """One string of these lines."""
    return '"' + r"\n".join(line.replace("\\", "\\\\").replace('"', r"\"") for line in lines) + '"'
