"""A picture in Mermaid, which GitHub, GitLab and many editors draw within Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tidemill_cli.graph.picture import Arrow, Kind, Node, Picture

_SHAPES: Final = {
    Kind.source: ("([", "])"),
    Kind.step: ("[", "]"),
    Kind.whole: ("[[", "]]"),
    Kind.sink: ("[(", ")]"),
    Kind.check: ("{{", "}}"),
}
_ARROWS: Final = {Arrow.rows: "-->", Arrow.joined: "-. joined .->", Arrow.checked: "-.-"}
_TAKEN: Final = str.maketrans({sign: f"#{ord(sign)};" for sign in '#"%&<>`'})
"""Signs that mean something in a text of Mermaid, or in the HTML that it becomes."""


def mermaid(drawn: Picture) -> str:
    """The text of a diagram, with a line break at its end."""
    return "\n".join(("flowchart LR", *_nodes(drawn), *_edges(drawn))) + "\n"


def _nodes(drawn: Picture) -> Iterator[str]:
    cut = len(drawn.waves) > 1
    for number, wave in enumerate(drawn.waves, start=1):
        if cut:
            yield f'  subgraph wave_{number}["wave {number}"]'
        yield from (f"  {'  ' * cut}{_node(node)}" for node in wave)
        if cut:
            yield "  end"
    yield from (f"  {_node(node)}" for node in drawn.checks)


def _node(node: Node) -> str:
    begin, end = _SHAPES[node.kind]
    return f'{_id(node.id)}{begin}"{"<br/>".join(line.translate(_TAKEN) for line in node.lines)}"{end}'


def _edges(drawn: Picture) -> Iterator[str]:
    yield from (f"  {_id(edge.start)} {_ARROWS[edge.arrow]} {_id(edge.end)}" for edge in drawn.edges)


def _id(text: str) -> str:
    """Hyphens may be read as the beginning of an arrow; there is no dot in our names."""
    return text.replace("-", ".")
