"""A real S3 server, and a proxy in front of it that breaks what a test tells it to."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tidemill_api.v1alpha1.workerpool import FilesConnection
from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.component import Component, ComponentError
from tidemill_worker.connections.file_places import client_of
from tidemill_worker.connections.s3.client import Client
from tidemill_worker.connections.s3.objects import listed
from tools.envtest import folder_for, missing

REGION = "eu-central-1"
_HOP = ("connection", "transfer-encoding")
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDOFTESTS", "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests"}
SECRET = "landing-s3"


@dataclass(frozen=True, slots=True)
class S3Server:
    """The server, and a folder with the keys as a pod mounts them."""

    component: Component
    address: str
    secrets: Path
    _clients: list[Client] = field(default_factory=list)

    def connection(self, bucket: str, prefix: str = "", endpoint: str | None = None) -> FilesConnection:
        """The connection of a bucket, as a pool has it."""
        return FilesConnection.model_validate(
            {
                "url": f"s3://{bucket}/{prefix}",
                "secretRef": {"name": SECRET},
                "region": REGION,
                "endpoint": endpoint or f"http://{self.address}",
            }
        )

    def client(self, bucket: str, prefix: str = "", endpoint: str | None = None) -> Client:
        """Requests to a bucket, for a worker and for a test alike."""
        client = client_of(self.connection(bucket, prefix, endpoint), "landing", self.secrets)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close what the clients have open."""
        for client in self._clients:
            client.close()

    def bucket(self, name: str) -> Client:
        """A new bucket."""
        client = self.client(name)
        client.ask("PUT")
        return client


def put(client: Client, key: str, data: bytes | str) -> None:
    """An object."""
    content = data.encode() if isinstance(data, str) else data
    client.ask("PUT", key, body=lambda: io.BytesIO(content))


def keys(client: Client, below: str = "") -> list[str]:
    """Of all objects below."""
    return [each.key for each in listed(client, below)]


def describe(folder: Path) -> S3Server:
    """The server in a folder of its own."""
    if missing(folder_for(("versitygw",)), ("versitygw",)):
        raise ComponentError("versitygw is needed: run `make envtest`, which builds it")
    address = f"127.0.0.1:{ports.free()}"
    for name in ("buckets", "attributes"):
        (folder / name).mkdir()
    (folder / "secrets" / SECRET).mkdir(parents=True)
    for key, value in KEYS.items():
        (folder / "secrets" / SECRET / key).write_text(value)
    component = Component(
        name="versitygw",
        command=(
            str(folder_for(("versitygw",)) / "versitygw"), address, str(folder / "buckets"), str(folder / "attributes"),
        ),
        directory=folder,
        ready=lambda: _answers(address),
        advice="Its log says why.",
        environment=KEYS,
    )  # fmt: skip
    return S3Server(component, address, folder / "secrets")


def _answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets instead of the server's answer."""

    status: int
    code: str
    headers: str = ""

    @property
    def text(self) -> bytes:
        """As it is sent."""
        said = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>secret words</Message></Error>"
        return (
            f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(said)}\r\nConnection: close\r\n{self.headers}\r\n{said}"
        ).encode()


@dataclass(frozen=True, slots=True)
class Cut:
    """The server's answer breaks off after so many bytes (head included)."""

    after: int


Fault = Answer | Cut | None
Faults = Callable[[str], Fault]
"""Asked with each request's first line and headers."""


@dataclass
class Proxy:
    """Each connection carries one request; both ends are closed after it, whatever they wished."""

    upstream: str
    faults: Faults = lambda _head: None
    heads: list[str] = field(default_factory=list)
    """Of all requests so far."""
    sent: int = 0
    """Bytes of answers so far."""
    address: str = ""

    def serve(self, listener: socket.socket) -> None:
        """Until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                more = client.recv(1 << 16)
                if not more:
                    return
                data += more
            head = data.partition(b"\r\n\r\n")[0].decode("latin-1")
            self.heads.append(head)
            fault = self.faults(head)
            if isinstance(fault, Answer):
                self._rest(client, data, lambda _more: None)
                client.sendall(fault.text)
                return
            host, _, port = self.upstream.partition(":")
            with socket.create_connection((host, int(port))) as server:
                self._rest(client, data, server.sendall)
                self._back(server, client, head.partition(" ")[0], fault.after if fault is not None else None)

    @staticmethod
    def _rest(client: socket.socket, data: bytes, pass_on: Callable[[bytes], None]) -> None:
        """The whole request."""
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
        pass_on(data)
        left = length - len(body)
        while left > 0:
            more = client.recv(1 << 16)
            if not more:
                return
            pass_on(more)
            left -= len(more)

    def _back(self, server: socket.socket, client: socket.socket, method: str, most: int | None) -> None:
        answer = http.client.HTTPResponse(server, method=method)  # only to know where it ends
        answer.begin()
        lines = "".join(f"{name}: {value}\r\n" for name, value in answer.getheaders() if name.lower() not in _HOP)
        left = most
        for piece in self._pieces(answer, f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n".encode()):
            shown = piece if left is None else piece[:left]
            client.sendall(shown)
            self.sent += len(shown)
            left = None if left is None else left - len(shown)
            if left == 0:
                return

    @staticmethod
    def _pieces(answer: http.client.HTTPResponse, head: bytes) -> Iterator[bytes]:
        yield head
        while more := answer.read(1 << 16):
            yield more


@contextlib.contextmanager
def proxy(server: S3Server, faults: Faults = lambda _head: None) -> Iterator[Proxy]:
    """A proxy in front of the server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Proxy(server.address, faults)
        found.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=found.serve, args=(listener,), daemon=True)
        thread.start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
