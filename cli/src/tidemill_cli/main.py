"""Entry point of the program `tidemill`."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also while it still imports."""
    try:
        from tidemill_cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
