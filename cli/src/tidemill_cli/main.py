"""Entry point of the program `tidemill`."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130
OUTPUT_CLOSED = 141
NOT_INSTALLED = 1


def main(program: str | None = None) -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also while it still imports."""
    try:
        from tidemill_cli.app import app

        app(prog_name=program)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:  # krew's archive, say, holds what the commands with a cluster need
        print(f"tidemill: this needs {error.name}, which isn't here: pip install 'tidemill[dev]'", file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    except BrokenPipeError:  # who read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OUTPUT_CLOSED)


def plugin() -> None:
    """`kubectl-tidemill`, which kubectl finds on the PATH: the same, under the name that people type."""
    main("kubectl tidemill")
