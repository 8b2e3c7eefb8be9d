"""`docs/reference/outcomes/`: the conditions with their reasons, and the tree of errors."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

from tidemill_api import conditions, errors

FOLDER = "docs/reference/outcomes"
_NOTE = "Made by `make generate` from `api/src/tidemill_api/{}.py`; edit that."


def files() -> dict[str, str]:
    """A page of conditions and one of errors."""
    return {"conditions.md": _conditions(), "errors.md": _errors()}


def _conditions() -> str:
    """Groups stand in the module as comments, what a word means as the text below it."""
    source = inspect.getsource(conditions)
    body = ast.parse(source).body
    lines = ["# Conditions and reasons", "", _NOTE.format("conditions"), "", inspect.getdoc(conditions) or ""]
    comments = {number: line[2:] for number, line in enumerate(source.splitlines(), 1) if line.startswith("# ")}
    for statement, after in zip(body, [*body[1:], None], strict=True):
        match statement:
            case ast.AnnAssign(value=ast.Constant(value=str(word))):
                lines += _group(comments, statement.lineno)
                lines.append(f"- `{word}`: {_docstring(after, word)}")
            case _:
                pass
    return "\n".join(lines) + "\n"


def _group(comments: dict[int, str], line: int) -> Iterator[str]:
    if line - 1 in comments:
        yield from ("", f"## {comments[line - 1].rstrip('.')}", "")


def _docstring(statement: ast.stmt | None, word: str) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
        case _:
            raise ValueError(f"the condition or reason {word} has no description below it")


def _errors() -> str:
    lines = [
        "# Errors",
        "",
        _NOTE.format("errors"),
        "",
        "The type stands in a run's error, in the status and in metrics. *Tried again*: a retry can help, so the",
        "run tries until `execution.timeout` or `execution.retry.maximumAttempts` ends it; others end it at once.",
        "Messages name what is wrong and what would be right; they never hold values of rows or secrets.",
        "",
    ]
    lines += _tree(errors.TidemillError, 0)
    return "\n".join(lines) + "\n"


def _tree(error: type[errors.TidemillError], depth: int) -> Iterator[str]:
    again = " *Tried again.*" if error.retryable else ""
    text = " ".join((inspect.getdoc(error) or "").split("\n\n")[0].split())
    yield f"{'  ' * depth}- `{error.__name__}`: {text}{again}"
    for below in error.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _tree(below, depth + 1)
