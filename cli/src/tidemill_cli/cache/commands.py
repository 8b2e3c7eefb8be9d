"""The commands of `tidemill cache`. Each imports what it needs when it is called, so that others start at once."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

cache = typer.Typer(
    name="cache",
    help="What the workers of a pool keep in Redis. Rights are those of the Redis user.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_FAILED = 1


def add_to(app: typer.Typer) -> None:
    """Make the commands known."""
    app.add_typer(cache)


@cache.callback()
def _commands() -> None:
    """Keeps `purge` a command of its own, though there is no other one."""


@cache.command()
def purge(
    redis: Annotated[
        str,
        typer.Option(
            "--redis",
            envvar="TIDEMILL_CACHE_URL",
            show_envvar=True,
            help="The pool's Redis: redis://:password@host:6379/0.",
        ),
    ],
    pool: Annotated[str, typer.Option("--pool", "-p", help="Of the workers of this pool.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The pool's namespace.")] = "default",
    installation: Annotated[
        str, typer.Option("--installation", help="The operator's installation id; of `tidemill dev` it is dev.")
    ] = "dev",
    connection: Annotated[
        list[str] | None, typer.Option("--connection", help="Only what was asked by this connection.")
    ] = None,
    source: Annotated[list[str] | None, typer.Option("--source", help="Only what sources of this name asked.")] = None,
    step: Annotated[
        list[str] | None, typer.Option("--step", help="Only what functions of steps of this name gave.")
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="CONNECTION/SCHEMA.TABLE", help="Only what came from this table."),
    ] = None,
) -> None:
    """Let workers find nothing any more of what was kept until now: all of it, or what the options name."""
    from tidemill_worker.cache.cache import EVERYTHING, StoreError
    from tidemill_worker.cache.opening import prefix
    from tidemill_worker.cache.redis_store import RedisStore

    named = (("connection", connection), ("source", source), ("step", step), ("table", table))
    tags = [f"{kind}/{name}" for kind, names in named for name in names or ()]
    store = RedisStore(lambda: redis, prefix(installation, namespace, pool), wait=10.0)
    try:
        store.move(tags or [EVERYTHING], secrets.token_hex(8))
    except StoreError as error:
        typer.echo(f"tidemill: Redis can't be asked: {str(error) or 'no answer'}", err=True)
        raise typer.Exit(_FAILED) from None
    except ImportError:
        typer.echo("tidemill: this needs redis: pip install 'tidemill[worker]'", err=True)
        raise typer.Exit(_FAILED) from None
    finally:
        store.close()
    typer.echo(f"purged: {', '.join(tags) if tags else 'everything'} of {namespace}/{pool}")
