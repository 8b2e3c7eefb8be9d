"""The options that the commands of `tidemill rejects` share: where the metastore is, and which letters are meant."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tidemill_cli.rejects.errors import RejectsError, UsageError
from tidemill_cli.rejects.place import VARIABLE
from tidemill_cli.sharing import with_options

FAILED: Final = 1
USAGE: Final = 2

_WHERE: Final[dict[str, Any]] = {
    "dsn": Annotated[
        str | None,
        typer.Option("--dsn", envvar=VARIABLE, help="The metastore's connection string.", show_envvar=True),
    ],
    "data_dir": Annotated[Path | None, typer.Option("--data-dir", help="The data directory of a `tidemill dev`.")],
    "pool": Annotated[
        str | None, typer.Option("--pool", metavar="NAMESPACE.POOL", help="Of a data directory with several pools.")
    ],
}
_WHO: Final = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who you are, for the audit, besides the system's user.")
]
_FILTER: Final[dict[str, Any]] = {
    "namespace": Annotated[str | None, typer.Option("--namespace", "-n", help="Of pipelines of this namespace.")],
    "pipeline": Annotated[str | None, typer.Option("--pipeline", "-p", help="Of this pipeline.")],
    "run": Annotated[str | None, typer.Option("--run", metavar="KEY", help="Of the run with this key.")],
    "step": Annotated[str | None, typer.Option("--step", help="Rejected by this source, step or sink.")],
    "rule": Annotated[str | None, typer.Option("--rule", help="That broke this rule.")],
    "type": Annotated[
        str | None, typer.Option("--type", help="BadValue, BadRow, RuleBroken, BadKey, or RunFailed for runs.")
    ],
    "since": Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="First rejected since then: a time, or 24h ago.")
    ],
    "until": Annotated[str | None, typer.Option("--until", metavar="TIME", help="First rejected before then.")],
    "status": Annotated[str | None, typer.Option("--status", help="New, Replayed, Discarded, Erased or All.")],
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the shared options came to."""

    dsn: str
    who: str
    filter: Any
    """A `Filter`."""


Command = Callable[..., Awaitable[int]]


def command(
    *, filtered: bool, status: str | None = "New", audited: bool = True
) -> Callable[[Command], Callable[..., None]]:
    """A command of typer from a coroutine function that takes an `Asked` first and returns an exit code.

    `filtered`: it gets the options of a filter, with `status` as the one that holds if none is given.
    """

    def decorated(function: Command) -> Callable[..., None]:
        shared = {**_WHERE, **({"who": _WHO} if audited else {}), **(_FILTER if filtered else {})}

        def run(given: dict[str, Any], own: dict[str, Any]) -> None:
            raise typer.Exit(_code(function, given, own, status))

        return with_options(function, "asked", shared, run)

    return decorated


def _code(function: Command, given: dict[str, Any], own: dict[str, Any], status: str | None) -> int:
    from tidemill_cli.rejects.place import metastore
    from tidemill_cli.rejects.store import person

    try:
        found = _filter(given, status)
        with metastore(given["dsn"], given["data_dir"], given["pool"]) as dsn:
            return asyncio.run(_run(function, Asked(dsn, person(given.get("who")), found), own))
    except UsageError as error:
        print(f"tidemill rejects: {error}", file=sys.stderr)
        return USAGE
    except RejectsError as error:
        print(f"tidemill rejects: {error}", file=sys.stderr)
        return FAILED


async def _run(function: Command, asked: Asked, own: dict[str, Any]) -> int:
    return await function(asked, **own)


def _filter(given: dict[str, Any], status: str | None) -> Any:
    from tidemill_cli.rejects.filters import ALL, STATUSES, TYPES, Filter, moment, one_of

    now = datetime.now(UTC)
    chosen = one_of(given.get("status"), "--status", (*STATUSES, ALL))
    chosen = chosen or (None if given.get("ids") else status)
    return Filter(
        ids=tuple(given.get("ids") or ()),
        namespace=given.get("namespace"),
        pipeline=given.get("pipeline"),
        run=given.get("run"),
        step=given.get("step"),
        rule=given.get("rule"),
        type=one_of(given.get("type"), "--type", TYPES),
        since=moment(given.get("since"), "--since", now),
        until=moment(given.get("until"), "--until", now),
        status=None if chosen == ALL else chosen,
    )
