"""`docs/reference/cli/`: every command of `tidemill` with its arguments and options, from the program itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer.main

from tidemill_cli.app import app

FOLDER = "docs/reference/cli"
_HEAD = """# The commands of tidemill

Made by `make generate` from `cli/src/tidemill_cli`; edit that.

`tidemill COMMAND` and, where kubectl finds `kubectl-tidemill` on the PATH, `kubectl tidemill COMMAND` are the same.
Commands with a cluster use kubectl, so its kubeconfig, contexts and logins are theirs, and they can do what you may do.

Exit codes: 0 done; 1 it came to nothing, with one line on stderr; 2 wrong usage; 3 done, but what was asked about isn't
well (a run that didn't succeed, `status --check`); 4 `--timeout` is over; 130 after Ctrl-C.
"""
_CLUSTER = ("namespace", "context", "kubeconfig", "as_user", "as_group")


def files() -> dict[str, str]:
    """One page."""
    group: Any = typer.main.get_command(app)
    lines = [_HEAD]
    shared = group.commands["status"]
    lines += ["## Options of all commands with a cluster", "", *_options(shared, lambda name: name in _CLUSTER)]
    for name, command in group.commands.items():
        lines += ["", f"## {name}", "", *_command(name, command)]
    return {"README.md": "\n".join(lines).rstrip() + "\n"}


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join(_usage(each) for each in arguments)
    in_cluster = any(each.name == "kubeconfig" for each in command.params)
    yield f"`{'kubectl ' if in_cluster else ''}tidemill {name}{f' {usage}' if usage else ''}`"
    yield ""
    yield inspect.cleandoc(command.help or "")
    told = [f"- `{_metavar(each)}`: {each.help}" for each in arguments if each.help]
    if told:
        yield from ("", *told)
    if options := _options(command, lambda option: option not in (*_CLUSTER, "help")):
        yield from ("", *options)


def _options(command: Any, wanted: Any) -> list[str]:
    return [
        f"- {', '.join(f'`{word}`' for word in each.opts)}{_value(each)}: {each.help}{_default(each)}"
        for each in command.params
        if each.param_type_name == "option" and wanted(each.name) and not each.hidden
    ]


def _usage(argument: Any) -> str:
    text = _metavar(argument)
    text = f"{text}..." if argument.nargs == -1 and not text.endswith("...") else text
    return text if argument.required else f"[{text}]"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.default, Enum):
        return f" {'|'.join(each.value for each in type(option.default))}"
    return f" {option.metavar or option.name.upper()}"


def _default(option: Any) -> str:
    default = option.default.value if isinstance(option.default, Enum) else option.default
    if option.required:
        return " Required."
    return f" Default: `{default}`." if isinstance(default, str | int | float) and default not in (False, "") else ""
