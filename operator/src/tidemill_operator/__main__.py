"""`python -m tidemill_operator`: settings in, a running operator out; 0 after an orderly stop, 2 for wrong settings."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import orjson

from tidemill_api.errors import ConfigError
from tidemill_operator.settings import OperatorSettings, parse_settings

log: Final = logging.getLogger("tidemill_operator")


def main() -> int:
    """The whole process. Libraries are imported after the arguments are known to be good."""
    try:
        settings = parse_settings(sys.argv[1:])
    except ConfigError as error:
        sys.stderr.write(f"tidemill-operator: {error}\n")
        return 2
    _log_to_stderr(settings.log_level, settings.log_format)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(settings))
    except ConfigError as error:
        log.error("%s", error)  # noqa: TRY400 - the sentence says it all
        return 2
    except BaseExceptionGroup as errors:
        log.exception("ended by %s", errors.exceptions[0])
        return 1
    return 0


async def _run(settings: OperatorSettings) -> None:
    from tidemill_codec.folder import KeyFolder
    from tidemill_operator.adapters.kubernetes import KubernetesClient
    from tidemill_operator.handlers import Watch
    from tidemill_operator.kinds import KINDS, temporals
    from tidemill_operator.metrics import Metrics
    from tidemill_operator.program import Program, until_stopped

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    keys = KeyFolder(settings.encryption.keys, settings.encryption.settle) if settings.encryption is not None else None
    kubernetes = await KubernetesClient.connect(settings.kubeconfig, settings.context, metrics.count_api)
    program = Program(
        settings,
        kubernetes,
        lambda store: temporals(settings, store, kubernetes, metrics.count_temporal, keys),
        KINDS,
        metrics,
        lambda receive, beat: Watch(
            kubernetes.credentials, settings.namespaces, receive, beat, _loop_factory(), metrics.count_watch_error
        ).run(),
        keys,
    )
    _rarely_collect()
    log.info("tidemill operator, installation %s, as %s", settings.decisions.installation, settings.identity)
    if keys is not None:
        log.info("payloads in Temporal are encrypted with the key %s", keys.ring().active)
    await until_stopped(program.run(), stop)
    log.info("stopped")


def _rarely_collect() -> None:
    """Modules and models stay for good, and what is kept of objects has no cycles: looking for some is for nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def _log_to_stderr(level: str, style: str) -> None:
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_JsonLines() if style == "json" else plain)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("tidemill_operator").setLevel(level.upper())
    # The watcher has a thread of its own on purpose, and signals are ours: its warning of that is no news.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
