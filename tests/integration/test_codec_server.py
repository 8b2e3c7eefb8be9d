"""`tidemill codec-server` and `tidemill decode` as a Temporal UI and a person use them: real HTTP, real histories."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from tests.support.keys import MountedRing, new_key
from tests.support.scripted import Script, performed_with
from tests.support.waiting import until
from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_cli.encryption.decode import payload_json
from tidemill_codec.cipher import Cipher
from tidemill_codec.converter import encrypting
from tidemill_codec.folder import FixedKeys
from tidemill_codec.ring import ring_of
from tools.certificates import authority

K1, K2 = new_key(), new_key()
TOKEN, UI = "t0ken-of-the-user-interface", "https://temporal.example.com"
TIDEMILL = str(Path(sys.executable).with_name("tidemill"))
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"hush-hush"')
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FULL = {**BEARER, "X-Namespace": "default"}


@dataclass
class Server:
    """A running codec server."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    context: ssl.SSLContext | None = None

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] = FULL, body: Any = None
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers (lower case) and body."""
        plain = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        secure = (
            http.client.HTTPSConnection("localhost", self.port, timeout=10, context=self.context)
            if self.context is not None
            else None
        )
        connection = secure or plain
        try:
            connection.request(
                method, path, body=body if isinstance(body, bytes | None) else json.dumps(body), headers=dict(headers)
            )
            answer = connection.getresponse()
            text = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
            is_json = found.get("content-type", "").startswith("application/json")
            return answer.status, found, json.loads(text) if is_json else text.decode()
        finally:
            connection.close()

    def up(self) -> bool:
        try:
            return self.ask("GET", "/healthz", {})[0] == 200
        except OSError:
            return False


Start = Callable[..., Server]


@pytest.fixture
def ring(tmp_path: Path) -> MountedRing:
    return MountedRing(tmp_path / "keys", k1=K1, active="k1")


@pytest.fixture
def start(ring: MountedRing, tmp_path: Path) -> Iterator[Start]:
    """Starts codec servers; they end with the test, in order."""
    started: list[Server] = []
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# of the UI\n{TOKEN}\n")

    def begin(
        *options: str, wait: bool = True, context: ssl.SSLContext | None = None, trusts: Path | None = None
    ) -> Server:
        port, log = ports.free(), tmp_path / f"codec-{len(started)}.log"
        given = {"--keys": str(ring.folder), "--listen": f"127.0.0.1:{port}"}
        if not any(option.startswith("--jwks") for option in options):
            given["--token-file"] = str(tokens)
        flags = [word for flag, value in given.items() if flag not in options for word in (flag, value)]
        command = [TIDEMILL, "codec-server", *flags, *options]
        with log.open("wb") as output:
            environment = {**os.environ, **({"SSL_CERT_FILE": str(trusts)} if trusts is not None else {})}
            process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        server = Server(process, port, log, context)
        started.append(server)
        if wait:
            until(lambda: server.up() or server.process.poll() is not None, "the codec server answers", timeout=30)
            assert server.process.poll() is None, log.read_text()
        return server

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.process.terminate()
            assert server.process.wait(20) == 0, server.log.read_text()


def sealed(namespace: str = "default", **entries: str) -> dict[str, Any]:
    keys = FixedKeys(ring_of(entries or {"k1": K1, "active": "k1"}, "test"))
    return payload_json(Cipher(keys, namespace).encrypt(PLAIN))


def test_payloads_are_decoded_and_encoded(start: Start, ring: MountedRing) -> None:
    server = start()

    status, _, body = server.ask("POST", "/decode", body={"payloads": [sealed(), payload_json(PLAIN)]})
    assert (status, body) == (200, {"payloads": [payload_json(PLAIN)] * 2})
    status, _, body = server.ask("POST", "/encode", body={"payloads": [payload_json(PLAIN)]})
    assert status == 200
    assert "hush" not in json.dumps(body)
    assert server.ask("POST", "/decode", body=body)[2] == {"payloads": [payload_json(PLAIN)]}

    new = sealed(k1=K1, k2=K2, active="k2")
    status, _, body = server.ask("POST", "/decode", body={"payloads": [new]})
    assert (status, "the key 'k2', which isn't in the key ring" in body["message"]) == (422, True)
    ring.renew({"k1": K1, "k2": K2, "active": "k2"})
    assert server.ask("POST", "/decode", body={"payloads": [new]})[0] == 200
    assert "hush" not in server.log.read_text()
    assert TOKEN not in server.log.read_text()


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-namespace"}


@pytest.mark.parametrize(
    ("method", "headers", "status", "allowed"),
    [
        ("OPTIONS", {"Origin": UI, **PREFLIGHT}, 204, UI),
        ("OPTIONS", {"Origin": "http://localhost:8233", **PREFLIGHT}, 204, "http://localhost:8233"),
        ("OPTIONS", {"Origin": "https://evil.example.com", **PREFLIGHT}, 403, None),
        ("OPTIONS", {"Origin": "http://temporal.example.com", **PREFLIGHT}, 403, None),
        ("OPTIONS", {"Origin": f"{UI}:8443", **PREFLIGHT}, 403, None),
        ("OPTIONS", {"Origin": f"{UI}.evil.example.com", **PREFLIGHT}, 403, None),
        ("OPTIONS", {"Origin": "null", **PREFLIGHT}, 403, None),
        ("OPTIONS", PREFLIGHT, 401, None),
        ("POST", {"Origin": UI, **FULL}, 200, UI),
        ("POST", {"Origin": "https://evil.example.com", **FULL}, 403, None),
        ("POST", FULL, 200, None),
        ("POST", {"Origin": UI, "X-Namespace": "default"}, 401, UI),
        ("POST", {"Origin": UI, "X-Namespace": "default", "Authorization": "Bearer another-token-altogether"}, 401, UI),
        ("POST", {"Origin": UI, "X-Namespace": "default", "Authorization": f"Basic {TOKEN}"}, 401, UI),
        ("POST", {"Origin": UI, "X-Namespace": "default", "Authorization": "Bearer "}, 401, UI),
        ("POST", {"Origin": UI, **BEARER}, 400, UI),
        ("POST", {"Origin": UI, **BEARER, "X-Namespace": "other"}, 403, UI),
    ],
)
def test_who_may_ask(shared: Server, method: str, headers: Mapping[str, str], status: int, allowed: str | None) -> None:
    found, answered, _ = shared.ask(method, "/decode", headers, {"payloads": [sealed()]})

    assert (found, answered.get("access-control-allow-origin")) == (status, allowed)
    assert "access-control-allow-credentials" not in answered
    if found == 204:
        assert answered["access-control-allow-methods"] == "POST"
        assert answered["access-control-allow-headers"] == "authorization, content-type, x-namespace"
    if allowed is not None:
        assert answered["vary"] == "Origin"
        assert answered["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/decode", b"no json", 400),
        ("/decode", [], 400),
        ("/decode", {"payloads": {}}, 400),
        ("/decode", {"payloads": ["text"]}, 400),
        ("/decode", {"payloads": [{"metadata": {"encoding": "!"}}]}, 400),
        ("/decode", b"[" * 100_000, 400),
        ("/decode", {"payloads": []}, 200),
        ("/decode", b"x" * 300_000, 413),
        ("/nowhere", {"payloads": []}, 404),
    ],
    ids=["no json", "a list", "no list", "text", "no base64", "deep", "nothing", "too long", "nowhere"],
)
def test_what_may_be_asked(shared: Server, path: str, body: Any, status: int) -> None:
    assert shared.ask("POST", path, FULL, body)[0] == status


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for the tables."""
    folder, port = tmp_path_factory.mktemp("codec"), ports.free()
    MountedRing(folder / "keys", k1=K1, active="k1")
    (folder / "tokens").write_text(TOKEN)
    options = {
        "--keys": folder / "keys",
        "--listen": f"127.0.0.1:{port}",
        "--token-file": folder / "tokens",
        "--namespace": "default",
        "--max-bytes": 200_000,
    }
    words = [str(word) for option in options.items() for word in option]
    origins = ["--origin", UI, "--origin", "http://localhost:8233"]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen([TIDEMILL, "codec-server", *words, *origins], stdout=output, stderr=output)
    server = Server(process, port, folder / "log")
    try:
        until(lambda: server.up() or process.poll() is not None, "the codec server answers", timeout=30)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def test_a_token_that_was_taken_back_opens_nothing(start: Start, tmp_path: Path) -> None:
    server = start()
    assert server.ask("POST", "/decode", body={"payloads": []})[0] == 200

    (tmp_path / "tokens.new").write_text("a-token-of-somebody-else\n")
    (tmp_path / "tokens.new").rename(tmp_path / "tokens")

    assert server.ask("POST", "/decode", body={"payloads": []})[0] == 401


def signed(key: rsa.RSAPrivateKey, kid: str = "one", **changes: Any) -> dict[str, str]:
    """Headers with a JWT."""
    claims = {"iss": "https://issuer", "aud": "codec", "sub": "ann", "exp": int(time.time()) + 60} | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid})
    return {"Authorization": f"Bearer {token}", "X-Namespace": "default"}


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An issuer's web server with what is in the folder `issuer`: its URL, and the authority to trust."""
    (tmp_path / "issuer").mkdir()
    trusted = authority(tmp_path / "pki")
    pair = trusted.server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "issuer"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", trusted.file
        server.shutdown()
        thread.join()


def test_the_issuers_keys_are_fetched(start: Start, issuer: tuple[str, Path], tmp_path: Path) -> None:
    ours = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(RSAAlgorithm.to_jwk(ours.public_key()))
    (tmp_path / "issuer" / "keys").write_text(json.dumps({"keys": [{**public, "kid": "one", "alg": "RS256"}]}))
    url, trusts = issuer

    server = start("--jwks", f"{url}/keys", "--issuer", "https://issuer", "--audience", "codec", trusts=trusts)

    assert server.ask("POST", "/decode", signed(ours), {"payloads": []})[0] == 200
    wrong = start("--jwks", f"{url}/gone", "--issuer", "i", "--audience", "a", trusts=trusts, wait=False)
    assert wrong.process.wait(30) == 1
    assert "can't be used: HTTP Error 404" in wrong.log.read_text()


def test_jwts_of_the_issuer_open_it(start: Start, tmp_path: Path) -> None:
    ours, others = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    public = json.loads(RSAAlgorithm.to_jwk(ours.public_key()))
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]}))
    options = {"--jwks": str(tmp_path / "jwks.json"), "--issuer": "https://issuer", "--audience": "codec"}
    server = start(*(word for option in options.items() for word in option))

    def status(headers: Mapping[str, str]) -> int:
        return server.ask("POST", "/decode", headers, {"payloads": []})[0]

    unsigned = jwt.encode({"iss": "https://issuer", "aud": "codec", "exp": int(time.time()) + 60}, "", algorithm="none")
    assert status(signed(ours)) == 200
    for refused in (
        signed(others),
        signed(ours, kid="two"),
        signed(ours, iss="https://another"),
        signed(ours, aud="another"),
        signed(ours, exp=int(time.time()) - 60),
        signed(ours, exp=None),
        signed(ours, aud=None),
        {**FULL, "Authorization": f"Bearer {unsigned}"},
        {**FULL, "Authorization": f"Bearer {TOKEN}"},
    ):
        assert status(refused) == 401


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--token-file", "{gone}"), "can't be read"),
        (("--token-file", "{short}"), "must hold a token a line, each of 16 characters or more"),
        (("--keys", "{gone}"), "can't be read: No such file"),
        (("--origin", "*"), "--origin *: must be exact, as browsers send it"),
        (("--origin", "https://ui.example.com/"), "must be exact"),
        (("--jwks", "http://issuer/keys", "--issuer", "i", "--audience", "a"), "must be an https URL or a file"),
        (("--jwks", "https://issuer/keys", "--issuer", "i"), "--jwks needs --issuer and --audience"),
        (("--listen", "0.0.0.0:1"), "is beyond this machine, where tokens and payloads need TLS"),
        (("--listen", "nowhere"), "must be HOST:PORT"),
        (("--tls-cert", "{short}"), "--tls-cert and --tls-key belong together"),
        (("--tls-cert", "{short}", "--tls-key", "{short}"), "can't be used"),
    ],
)
def test_wrong_options_say_what_is_right(start: Start, tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    (tmp_path / "short").write_text("short\n")
    places = {"gone": str(tmp_path / "gone"), "short": str(tmp_path / "short")}

    server = start(*(option.format(**places) for option in options), wait=False)

    assert server.process.wait(30) == 1
    assert says in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_it_serves_by_tls(start: Start, tmp_path: Path) -> None:
    trusted = authority(tmp_path / "pki")
    pair = trusted.server()
    context = ssl.create_default_context(cafile=str(trusted.file))

    server = start("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key), context=context)

    assert server.ask("POST", "/decode", body={"payloads": [sealed()]})[2] == {"payloads": [payload_json(PLAIN)]}


async def test_a_history_of_the_temporal_cli_is_decoded(
    temporal_server: TemporalServer, ring: MountedRing, start: Start
) -> None:
    """By `tidemill decode`, and by `temporal workflow show --codec-endpoint` with `tidemill codec-server`."""
    keys = FixedKeys(ring_of({"k1": K1, "active": "k1"}, "test"))
    client = await Client.connect(
        temporal_server.address, data_converter=encrypting(pydantic_data_converter, keys, "default")
    )
    script = Script()

    async def fail(_task: object) -> Any:
        raise ApplicationError("the reason is hush-hush", type="StepFailed", non_retryable=True)

    script.chunk = fail
    async with performed_with(client, script) as stage:
        handle = await stage.start(parameters={"customer": "hush-hush"})
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    show = [temporal_server.component.command[0], "workflow", "show", "--address", temporal_server.address]
    for form in ((), ("--no-json-shorthand-payloads",)):
        told = await asyncio.to_thread(
            subprocess.run, [*show, "-w", handle.id, "--output", "json", *form], check=True, capture_output=True
        )
        assert b"hush" not in told.stdout
        done = await asyncio.to_thread(
            subprocess.run,
            [TIDEMILL, "decode", "--keys", str(ring.folder)],
            input=told.stdout,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode()
        assert '"customer": "hush-hush"' in text
        assert '"message": "the reason is hush-hush"' in text
        assert "Encoded failure" not in text
        assert "YmluYXJ5L2VuY3J5cHRlZA" not in text
    server = start()
    codec = ["--codec-endpoint", f"http://127.0.0.1:{server.port}", "--codec-auth"]
    told = await asyncio.to_thread(
        subprocess.run,
        [*show, "-w", handle.id, "--output", "json", *codec, f"Bearer {TOKEN}"],
        check=True,
        capture_output=True,
    )
    encrypted, plain = (base64.b64encode(encoding) for encoding in (b"binary/encrypted", b"json/plain"))
    assert (encrypted in told.stdout, plain in told.stdout) == (False, True)
    refused = await asyncio.to_thread(
        subprocess.run,
        [*show, "-w", handle.id, "--output", "json", *codec, "Bearer another-token-altogether"],
        check=False,
        capture_output=True,
    )
    assert plain not in refused.stdout
