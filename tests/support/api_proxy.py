"""A plain HTTP proxy in front of the real API server that tells of each write, before and after it is done.

A test kills the operator there, so that it dies exactly around a write of its choice.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp
from aiohttp import web

from tests.support.kubernetes import ADMIN, ApiServer

Moment = Literal["before", "after"]
_HOP = ("host", "content-length", "transfer-encoding", "connection")


@dataclass(slots=True)
class ApiProxy:
    """`tell` is called with a sentence for each write, such as `before PATCH .../datapipelines/flights`."""

    tell: Callable[[Moment, str], None]
    kubeconfig: Path = field(default_factory=Path)


@contextlib.asynccontextmanager
async def api_proxy(api: ApiServer, folder: Path, tell: Callable[[Moment, str], None]) -> AsyncIterator[ApiProxy]:
    """Run the proxy in this event loop; `kubeconfig` leads through it, with an administrator's rights."""
    pair = api.authority.client(*ADMIN)
    context = ssl.create_default_context(cafile=str(api.authority.file))
    context.load_cert_chain(str(pair.certificate), str(pair.key))
    proxy = ApiProxy(tell)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        application = web.Application(client_max_size=16 * 2**20)
        application.router.add_route("*", "/{path:.*}", _Forwarder(api.url, session, proxy).forward)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            proxy.kubeconfig = folder / "proxy.kubeconfig"
            proxy.kubeconfig.write_text(json.dumps(_kubeconfig(f"http://127.0.0.1:{port}")), encoding="utf-8")
            yield proxy
        finally:
            await runner.cleanup()


@dataclass(frozen=True, slots=True)
class _Forwarder:
    url: str
    session: aiohttp.ClientSession
    proxy: ApiProxy

    async def forward(self, request: web.Request) -> web.StreamResponse:
        what = f"{request.method} {request.path}"
        writes = request.method not in ("GET", "HEAD") and "/leases" not in request.path
        if writes:
            self.proxy.tell("before", what)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        async with self.session.request(
            request.method,
            f"{self.url}{request.rel_url}",
            headers=headers,
            data=await request.read() or None,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if writes:
                self.proxy.tell("after", what)
            back = web.StreamResponse(
                status=answer.status,
                headers={name: value for name, value in answer.headers.items() if name.lower() not in _HOP},
            )
            with contextlib.suppress(ConnectionError):  # the operator is gone
                await back.prepare(request)
                async for part in answer.content.iter_any():
                    await back.write(part)
                await back.write_eof()
        return back


def _kubeconfig(server: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
