"""Temporal's remote codec over HTTP: POST /decode and /encode with `{"payloads": [...]}`, for the Temporal UI.

A browser asks from another origin, so it asks first (a preflight): only origins that were named get an answer, and
each request must carry a token. The header X-Namespace says which Temporal namespace payloads are from.
"""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from temporalio.api.common.v1 import Payload

from tidemill_api.errors import ConfigError, EncryptionError
from tidemill_cli.encryption.callers import AnyOf, Callers, Issuer, TokenFile
from tidemill_cli.encryption.decode import payload_json, payload_of
from tidemill_codec.cipher import Cipher
from tidemill_codec.folder import KeyFolder, Keys

_ORIGIN: Final = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")
_LISTEN: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_ALLOWED_HEADERS: Final = "authorization, content-type, x-namespace"
_OPEN: Final = ("/healthz",)
"""What needs no token."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    keys: Path
    origins: tuple[str, ...]
    token_file: Path | None
    jwks: str | None
    issuer: str | None
    audience: str | None
    namespaces: tuple[str, ...]
    listen: str
    tls: tuple[Path | None, Path | None]
    plain: bool
    max_bytes: int


def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigError: An option, the key ring, the tokens or the address can't be used.
    """
    host, port = _address(options.listen)
    context = _tls(*options.tls)
    if context is None and not options.plain and not _is_loopback(host):
        raise ConfigError(
            f"--listen {options.listen}: is beyond this machine, where tokens and payloads need TLS: give --tls-cert "
            "and --tls-key, or --plain if TLS ends in front of it"
        )
    made = application(
        KeyFolder(options.keys, settle=0),
        callers_of(options),
        tuple(map(_origin, options.origins)),
        options.namespaces,
        options.max_bytes,
    )
    try:
        web.run_app(made, host=host, port=port, ssl_context=context, access_log=None, print=None)
    except OSError as error:
        raise ConfigError(f"--listen {options.listen}: {error.strerror}") from None


def callers_of(options: Options) -> Callers:
    """Who may ask. Raises ConfigError if nobody is named, or something of it is missing."""
    known: list[Callers] = []
    if options.token_file is not None:
        known.append(TokenFile(options.token_file))
    if options.jwks is not None:
        if not options.issuer or not options.audience:
            raise ConfigError("--jwks needs --issuer and --audience: a JWT for somebody else must not open this")
        known.append(Issuer(options.jwks, options.issuer, options.audience))
    if not known:
        raise ConfigError("say who may ask: --token-file FILE, or --jwks, --issuer and --audience")
    return AnyOf(*known)


def application(
    keys: Keys, callers: Callers, origins: tuple[str, ...], namespaces: tuple[str, ...], max_bytes: int
) -> web.Application:
    """The server, not started yet. `namespaces`: those that may be read; empty for all."""

    def transcode(work: Callable[[Cipher, Payload], Payload]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            cipher = Cipher(keys, _namespace(request, namespaces))
            try:
                done = [work(cipher, payload) for payload in await _payloads(request)]
            except EncryptionError as error:
                return _said(422, str(error))
            return web.json_response({"payloads": [payload_json(payload) for payload in done]})

        return handle

    async def health(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    made = web.Application(client_max_size=max_bytes, middlewares=[_guard(callers, origins)])
    made.router.add_get("/healthz", health)
    made.router.add_post("/decode", transcode(Cipher.decrypt))
    made.router.add_post("/encode", transcode(Cipher.encrypt))
    return made


def _guard(callers: Callers, origins: tuple[str, ...]) -> Any:
    """Origin, preflight and token, before anything else is looked at."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and origin not in origins:
            return _said(403, "this origin may not ask: name it by --origin")
        try:
            answer = await _admitted(request, handler, callers)
        except web.HTTPException as error:
            answer = _said(error.status, error.reason)
        answer.headers["Vary"] = "Origin"
        answer.headers["Cache-Control"] = "no-store"
        if origin is not None:
            answer.headers["Access-Control-Allow-Origin"] = origin
        return answer

    return guard


async def _admitted(request: web.Request, handler: Handler, callers: Callers) -> web.StreamResponse:
    if request.method == "OPTIONS" and "Origin" in request.headers:
        preflight = {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=preflight)
    if request.path not in _OPEN:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not await callers.admits(token.strip()):
            refused = _said(401, "a bearer token that is known here is needed")
            refused.headers["WWW-Authenticate"] = "Bearer"
            return refused
    return await handler(request)


def _namespace(request: web.Request, namespaces: tuple[str, ...]) -> str:
    namespace = request.headers.get("X-Namespace", "")
    if not namespace:
        raise web.HTTPBadRequest(reason="the header X-Namespace must name the Temporal namespace")
    if namespaces and namespace not in namespaces:
        raise web.HTTPForbidden(reason="payloads of this Temporal namespace may not be read here")
    return namespace


async def _payloads(request: web.Request) -> list[Payload]:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(reason="the body is no JSON") from None
    listed = body.get("payloads") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise web.HTTPBadRequest(reason="the body must be an object with a list of payloads")
    found = [payload_of(each) if isinstance(each, dict) else None for each in listed]
    payloads = [payload for payload in found if payload is not None]
    if len(payloads) < len(found):
        raise web.HTTPBadRequest(reason="each payload must have metadata with its encoding, and data, in base64")
    return payloads


def _said(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text):
        raise ConfigError(f"--origin {text}: must be exact, as browsers send it, such as https://temporal.example.com")
    return text


def _address(text: str) -> tuple[str, int]:
    match = _LISTEN.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        raise ConfigError(f"--listen {text}: must be HOST:PORT, such as 127.0.0.1:8081")
    return match[1].strip("[]"), int(match[2])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise ConfigError("--tls-cert and --tls-key belong together: give both or none")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--tls-cert {cert}, --tls-key {key}: can't be used: {error}") from None
    return context
