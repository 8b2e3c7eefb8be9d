"""`/healthz`, `/readyz` and `/metrics`, by a server of a few lines: a worker needs no web framework.

It runs in the worker's own loop, so a loop that is stuck doesn't answer, and the kubelet restarts the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus

Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""
TEXT = "text/plain; charset=utf-8"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_READ_SECONDS = 5.0


async def serve(host: str, port: int, answer: Callable[[str], Answer | None]) -> asyncio.Server:
    """Answer GET requests by path; None is 404. Raises OSError if the address can't be had."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_response(head, answer))
            await writer.drain()
        writer.close()

    return await asyncio.start_server(handle, host, port, limit=16_384)


def _response(head: bytes, answer: Callable[[str], Answer | None]) -> bytes:
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or words[0] not in {"GET", "HEAD"}:
        status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET\n"
    else:
        found = answer(words[1].split("?", 1)[0])
        status, kind, body = found or (HTTPStatus.NOT_FOUND, TEXT, b"there are /healthz, /readyz and /metrics\n")
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    sent = b"" if words[0] == "HEAD" else body
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + sent
