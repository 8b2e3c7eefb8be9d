"""`python -m tidemill_worker --config FILE --secrets DIR [--health-address HOST:PORT] [--grace SECONDS] ...`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tidemill_api.errors import ConfigError, TidemillError
from tidemill_api.names import CONFIG_DIR, CONFIG_FILE, SECRETS_DIR
from tidemill_worker.app import App, Options
from tidemill_worker.config import read_config
from tidemill_worker.engine.memory import keep_freed_blocks
from tidemill_worker.logs import log_to_stderr

_LONGEST_LAST_WORDS = 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker until SIGTERM or SIGINT. Exit codes: 0 stopped as told, 1 something ended it, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    keep_freed_blocks()
    sys.path.extend(map(str, options.modules))  # last, so that nothing of an author's replaces what the worker uses
    log_to_stderr(options.log_level, options.log_format)
    try:
        app_options = Options(
            config=read_config(options.config),
            secrets=options.secrets,
            health=options.health_address,
            grace=options.grace,
        )
        _run(App(app_options))
    except ConfigError as error:
        logging.getLogger("tidemill.worker").error("%s", error)  # noqa: TRY400 - the sentence says it, a stack doesn't
        _leave(options.termination_log, str(error))
        return 1
    except Exception as error:
        logging.getLogger("tidemill.worker").exception("the worker ended")
        # An unknown error's own words may quote what is secret; they are in the log, which fewer people read.
        told = str(error) if isinstance(error, TidemillError) else "its log says more"
        _leave(options.termination_log, f"{type(error).__name__}: {told}")
        return 1
    return 0


def _leave(file: Path, words: str) -> None:
    """Last words for whoever looks at the pod; Kubernetes makes the file, elsewhere there is none."""
    with contextlib.suppress(OSError):
        if file.exists():
            file.write_text(words[:_LONGEST_LAST_WORDS], encoding="utf-8")


def _run(app: App) -> None:
    try:
        import uvloop
    except ImportError:  # not there on every platform; asyncio's own loop does the same, slower
        asyncio.run(app.run())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(app.run())


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: write it like 0.0.0.0:9464")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - a pod's probes come from outside of it


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds between 0 and 86400")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tidemill-worker", description="Runs the pipelines of one WorkerPool.")
    parser.add_argument(
        "--config", type=Path, default=Path(CONFIG_DIR, CONFIG_FILE), metavar="FILE", help="the pool's worker.json"
    )
    parser.add_argument(
        "--secrets", type=Path, default=Path(SECRETS_DIR), metavar="DIR", help="folder with a folder for each Secret"
    )
    parser.add_argument(
        "--modules",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="look there, too, for modules of Python steps and sources; can be given several times",
    )
    parser.add_argument(
        "--health-address", type=_address, metavar="HOST:PORT", help="serve /healthz, /readyz and /metrics there"
    )
    parser.add_argument(
        "--grace",
        type=_seconds,
        default=25.0,
        metavar="SECONDS",
        help="time for open chunks after SIGTERM; 25 if not given",
    )
    parser.add_argument(
        "--termination-log",
        type=Path,
        default=Path("/dev/termination-log"),
        metavar="FILE",
        help="where to leave the reason of a bad end, if the file is there; /dev/termination-log if not given",
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    parser.add_argument(
        "--log-format", choices=("json", "text"), default="json", help="one line an event, for programs or people"
    )
    return parser
