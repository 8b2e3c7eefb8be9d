"""The metrics of Temporal's SDK, which it serves itself: on a port of the loopback, asked when the worker's are read.

So a pool's pods have one port to scrape, and the SDK's are never open to others.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from temporalio.runtime import PrometheusConfig

_LOOPBACK: Final = "127.0.0.1"
_SECONDS: Final = 2.0


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def exporter(port: int) -> PrometheusConfig:
    """The SDK's exporter, with names as the conventions want them."""
    from temporalio.runtime import PrometheusConfig

    return PrometheusConfig(
        bind_address=f"{_LOOPBACK}:{port}", counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
    )


async def asked(port: int) -> str:
    """What the SDK's exporter tells, in Prometheus' text; empty if it doesn't answer (yet), or has no port (0)."""
    if not port:
        return ""
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(_LOOPBACK, port)
            try:
                writer.write(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
                await writer.drain()
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return ""
    return body.decode("utf-8", errors="replace") if b" 200 " in head.split(b"\r\n", 1)[0] else ""


def together(ours: bytes, theirs: str, content_type: str) -> bytes:
    """Both in one, as the content type of ours says."""
    if not content_type.startswith("application/openmetrics-text"):
        return ours + theirs.encode()
    return ours.removesuffix(b"# EOF\n") + as_openmetrics(theirs).encode() + b"# EOF\n"


def as_openmetrics(text: str) -> str:
    """Prometheus' text as OpenMetrics has it: there a counter's family is named without `_total`."""
    lines = text.splitlines()
    counters = {line.split(" ")[2] for line in lines if line.startswith("# TYPE ") and line.endswith(" counter")}
    return "".join(f"{_line(line, counters)}\n" for line in lines if line and line != "# EOF")


def _line(line: str, counters: set[str]) -> str:
    if not line.startswith("# "):
        return line
    mark, kind, name, *rest = line.split(" ", 3)
    return " ".join((mark, kind, name.removesuffix("_total") if name in counters else name, *rest))
