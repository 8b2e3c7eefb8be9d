"""`/healthz`, `/readyz` and `/metrics`, by a server of a few lines: a worker needs no web framework.

It runs in the worker's own loop, so a loop that is stuck doesn't answer, and the kubelet restarts the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus

Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""
TEXT = "text/plain; charset=utf-8"
Ask = Callable[[str, str], Awaitable[Answer | None]]
"""What there is at a path for a header `Accept`; None: nothing."""

_READ_SECONDS = 5.0


async def serve(host: str, port: int, answer: Ask) -> asyncio.Server:
    """Answer GET requests by path; None is 404. Raises OSError if the address can't be had."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(await _response(head, answer))
            await writer.drain()
        writer.close()

    return await asyncio.start_server(handle, host, port, limit=16_384)


async def _response(head: bytes, answer: Ask) -> bytes:
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or words[0] not in {"GET", "HEAD"}:
        status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET\n"
    else:
        found = await answer(words[1].split("?", 1)[0], _header(head, b"accept"))
        status, kind, body = found or (HTTPStatus.NOT_FOUND, TEXT, b"there are /healthz, /readyz and /metrics\n")
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    sent = b"" if words[0] == "HEAD" else body
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + sent


def _header(head: bytes, name: bytes) -> str:
    """The value of a request's header; empty if it isn't there."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode("latin-1")
    return ""
