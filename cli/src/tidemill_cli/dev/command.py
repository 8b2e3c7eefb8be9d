"""`tidemill dev`: from arguments to an exit code."""

from __future__ import annotations

from typing import Final

from rich.console import Console

from tidemill_cli.dev.layout import LayoutError
from tidemill_cli.dev.reading import ManifestsError, Options, UsageError, read
from tidemill_cli.dev.settings import SettingsError

FAILED: Final = 1
USAGE: Final = 2
"""A signal's exit code is 128 and its number, as shells have it: 130 after Ctrl-C."""


def dev(options: Options) -> int:
    """Lint, start everything, run the pipelines; returns the exit code."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        layout = read(options)
    except UsageError as error:
        errors.print(f"tidemill dev: {error}", markup=False)
        return USAGE
    except (ManifestsError, SettingsError, LayoutError) as error:
        errors.print(str(error), markup=False)
        return FAILED
    # Temporal's client takes a while to import: an answer about the manifests doesn't wait for it.
    from tidemill_cli.dev.running import run

    return run(layout, options)
