"""The commands around encryption. Each imports what it needs when it is called, so that all others start at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tidemill_api.errors import TidemillError

Keys = Annotated[
    Path,
    typer.Option("--keys", metavar="DIR", envvar="TIDEMILL_ENCRYPTION_KEYS", help="Folder of the key ring."),
]
Directory = Annotated[Path | None, typer.Option("--dir", metavar="DIR", help="The key ring is this folder.")]
Source = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="FILE", help="The key ring is this Secret's, as `kubectl get -o yaml` prints it; - is stdin."
    ),
]
KeyId = Annotated[str | None, typer.Option("--id", help="Id of the new key; k and the date if not given.")]

keys = typer.Typer(name="keys", help="Make and change key rings for encryption.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Make the commands known."""
    app.command()(decode)
    app.command("codec-server")(codec_server)
    app.add_typer(keys)


@keys.command()
def new(
    folder: Directory = None,
    secret: Annotated[str | None, typer.Option("--secret", metavar="NAME", help="Print a Secret of this name.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="The Secret's namespace.")] = None,
    key_id: KeyId = None,
) -> None:
    """Make a key ring with one key: a folder, or a Secret's manifest on stdout."""
    with _told("keys new"):
        from tidemill_cli.encryption import rings

        ring = rings.fresh(key_id)
        if (folder is None) == (secret is None):
            raise rings.RingError("give either --dir DIR or --secret NAME")
        if folder is not None:
            rings.make_folder(folder, ring)
        else:
            typer.echo(rings.secret_text(rings.secret(ring, secret or "", namespace)), nl=False)


@keys.command()
def rotate(
    folder: Directory = None,
    source: Source = None,
    key_id: KeyId = None,
    standby: Annotated[
        bool, typer.Option("--standby", help="Only add the key: it reads, and writes when it is made active later.")
    ] = False,
) -> None:
    """Add a new key and make it the active one. The others stay, to read what they have written."""
    _change("keys rotate", folder, source, lambda rings, ring: rings.rotated(ring, key_id, standby=standby))


@keys.command()
def activate(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key that shall write.")],
    folder: Directory = None,
    source: Source = None,
) -> None:
    """Make a key of the ring the one that writes."""
    _change("keys activate", folder, source, lambda rings, ring: rings.activated(ring, key_id))


@keys.command()
def drop(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key to drop.")],
    folder: Directory = None,
    source: Source = None,
) -> None:
    """Take a key out of the ring. What is encrypted with it can't be read any more."""
    _change("keys drop", folder, source, lambda rings, ring: rings.dropped(ring, key_id))


def decode(
    keys: Annotated[
        Path,
        typer.Option(
            "--keys",
            metavar="DIR|FILE",
            envvar="TIDEMILL_ENCRYPTION_KEYS",
            help="Folder of the key ring, or a file with the manifest of its Secret.",
        ),
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON of a payload, a history or anything with payloads; - is stdin.")
    ] = Path("-"),
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Temporal namespace it is from.")] = "default",
) -> None:
    """Decrypt what `temporal workflow show --output json` and its like have printed.

    Payloads become the JSON that they hold, failures get their messages and stacks back; all else stays as it is.
    Exit code: 0 all is decrypted, 1 something isn't: it stays as it was, and stderr says why.
    """
    with _told("decode"):
        from tidemill_cli.encryption.decode import decode_file

        raise typer.Exit(decode_file(file, keys, namespace))


def codec_server(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    keys: Keys,
    origin: Annotated[
        list[str] | None,
        typer.Option("--origin", metavar="URL", help="Origin of a Temporal UI that may ask; repeatable. No wildcard."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Bearer tokens that may ask, one a line.")
    ] = None,
    jwks: Annotated[
        str | None, typer.Option("--jwks", metavar="URL|FILE", help="Keys of the issuer whose JWTs may ask.")
    ] = None,
    issuer: Annotated[str | None, typer.Option("--issuer", help="Issuer that JWTs must have.")] = None,
    audience: Annotated[str | None, typer.Option("--audience", help="Audience that JWTs must have.")] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Temporal namespace that may be read; repeatable. All if not given."),
    ] = None,
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Where it listens.")] = "127.0.0.1:8081",
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key (PEM).")] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Listen beyond this machine without TLS, which ends in front of it.")
    ] = False,
    max_bytes: Annotated[int, typer.Option("--max-bytes", min=1024, help="Longest request.")] = 8 * 1024 * 1024,
) -> None:
    """Serve Temporal's remote codec (POST /decode and /encode), so that the Temporal UI shows what is encrypted.

    Its callers are checked: a bearer token from --token-file, or a JWT of the UI's users by --jwks, --issuer and
    --audience. Who may ask it, reads all that the key ring encrypts.
    """
    with _told("codec-server"):
        from tidemill_cli.encryption.codec_server import Options, serve

        serve(
            Options(
                keys=keys,
                origins=tuple(origin or ()),
                token_file=token_file,
                jwks=jwks,
                issuer=issuer,
                audience=audience,
                namespaces=tuple(namespace or ()),
                listen=listen,
                tls=(tls_cert, tls_key),
                plain=plain,
                max_bytes=max_bytes,
            )
        )


def _change(name: str, folder: Path | None, source: Path | None, change: Callable[..., object]) -> None:
    with _told(name):
        from tidemill_cli.encryption import rings

        if (folder is None) == (source is None):
            raise rings.RingError("give either --dir DIR or --from FILE")
        rings.change(folder, source, lambda ring: change(rings, ring), typer.echo)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Errors of ours as one line on stderr and exit code 1; a library that is missing by the extra that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"tidemill {name}: {error.name} isn't installed: install tidemill[decode]", err=True)
        raise typer.Exit(1) from None
    except TidemillError as error:
        typer.echo(f"tidemill {name}: {error}", err=True)
        raise typer.Exit(1) from None
