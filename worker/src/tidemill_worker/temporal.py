"""The worker's client of Temporal, and its credentials while they change."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill_api.contract import TemporalAddress
from tidemill_api.errors import SecretMissing, TemporalUnavailable
from tidemill_api.names import POD_VARIABLE
from tidemill_worker.sdk_metrics import exporter

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.converter import DataConverter
    from temporalio.runtime import Runtime
    from temporalio.worker import Worker

    from tidemill_codec.folder import KeyFolder

_log = logging.getLogger(__name__)

SLOTS_TOLD_EVERY = timedelta(seconds=3)
"""So often the worker tells Temporal its used and free slots; the operator's scaling reads them."""
CREDENTIALS_READ_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the files hold; None where there is no file."""

    ca: bytes | None
    certificate: bytes | None
    key: bytes | None
    api_key: str | None


def credentials_of(address: TemporalAddress, secrets: Path) -> Credentials:
    """Read the files that the address names, below the secrets folder. Raises SecretMissing."""

    def read(name: str | None) -> bytes | None:
        if name is None:
            return None
        try:
            return (secrets / name).read_bytes()
        except OSError as error:
            raise SecretMissing(f"temporal: {name} isn't mounted yet ({error.strerror})") from error

    api_key = read(address.api_key_file)
    return Credentials(
        ca=read(address.ca_file),
        certificate=read(address.cert_file),
        key=read(address.key_file),
        api_key=None if api_key is None else api_key.decode().strip(),
    )


def runtime_of(metrics_port: int, labels: Mapping[str, str]) -> Runtime:
    """The SDK's runtime: it heartbeats often, so that the operator sees busy slots.

    Its metrics are on that port of the loopback, all with these labels.
    """
    from temporalio.runtime import Runtime, TelemetryConfig

    return Runtime(
        telemetry=TelemetryConfig(metrics=exporter(metrics_port), global_tags=dict(labels)),
        worker_heartbeat_interval=SLOTS_TOLD_EVERY,
    )


async def connect(
    address: TemporalAddress, credentials: Credentials, runtime: Runtime, keys: KeyFolder | None = None
) -> Client:
    """A connected client; with `keys` it encrypts. Raises TemporalUnavailable with what the connection said."""
    from temporalio.client import Client
    from temporalio.service import KeepAliveConfig, RPCError, TLSConfig

    tls: TLSConfig | bool = address.tls
    if address.tls and (credentials.ca or credentials.certificate or address.server_name):
        tls = TLSConfig(
            server_root_ca_cert=credentials.ca,
            domain=address.server_name,
            client_cert=credentials.certificate,
            client_private_key=credentials.key,
        )
    try:
        return await Client.connect(
            address.address,
            namespace=address.namespace,
            tls=tls,
            api_key=credentials.api_key,
            data_converter=_converter(keys, address.namespace),
            # The operator tells by it which pod a worker is; a host's name may be cut off, or the node's.
            identity=f"{os.getpid()}@{os.environ.get(POD_VARIABLE) or socket.gethostname()}",
            runtime=runtime,
            # A frontend whose pod is gone says nothing more. Half the SDK's time; servers refuse pings each 10 s.
            keep_alive_config=KeepAliveConfig(interval_millis=15_000, timeout_millis=5_000),
        )
    except (RuntimeError, RPCError, ValueError) as error:
        raise TemporalUnavailable(f"Temporal at {address.address} can't be reached: {_sentence(error)}") from error


def _converter(keys: KeyFolder | None, namespace: str) -> DataConverter:
    from temporalio.contrib.pydantic import pydantic_data_converter

    from tidemill_codec.converter import encrypting

    return encrypting(pydantic_data_converter, keys, namespace)


async def follow_credentials(
    worker: Worker,
    address: TemporalAddress,
    secrets: Path,
    runtime: Runtime,
    tell: Callable[[str, bool], None],
    keys: KeyFolder | None = None,
) -> None:
    """Give the worker new credentials when their files change; for ever. What can't be used changes nothing.

    `tell` is told `temporal`, and whether the files hold something that can't be used.
    """
    used, said = credentials_of(address, secrets), ""
    while True:
        await asyncio.sleep(CREDENTIALS_READ_EVERY)
        try:
            found = await asyncio.to_thread(credentials_of, address, secrets)
            if found != used:
                worker.client = await connect(address, found, runtime, keys)
                _log.info("Temporal's credentials have changed; the new ones are in use")
            used, problem = found, ""
        except (SecretMissing, TemporalUnavailable) as error:
            problem = str(error)
        if problem != said:
            said = problem
            tell("temporal", bool(problem))
            if problem:
                _log.warning(
                    "what the Secret of Temporal holds now can't be used, the former stays in use: %s", problem
                )


def _sentence(error: BaseException) -> str:
    """What the SDK said, in one line."""
    return " ".join(str(error).split())[:500]
