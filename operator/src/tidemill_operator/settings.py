"""The operator's settings: from arguments, each with an environment variable beside it. A wrong one is named."""

from __future__ import annotations

import argparse
import os
import re
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tidemill_api import names
from tidemill_api.contract import TemporalAddress
from tidemill_api.errors import ConfigError
from tidemill_operator.clients import KeyRingOfPools, Settings

_INSTALLATION: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]*):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often things are looked at, in seconds."""

    sweep: float = 3.0
    resync: float = 600.0
    lease: float = 15.0
    """How long a leader's lease holds without being renewed; it stops working at two thirds of it."""
    stuck: float = 20.0
    """An event loop not heard of for this long is stuck, and the process unhealthy."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most objects of a kind that have series of their own at /metrics."""

    pipelines: int = 2000
    pools: int = 500


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """All that the process needs to know."""

    decisions: Settings
    temporal_files: TemporalFiles
    encryption: Encryption | None
    namespaces: tuple[str, ...]
    """Namespaces to look after; empty: all."""
    kubeconfig: Path | None
    context: str | None
    health: tuple[str, int]
    """Host and port of /healthz, /readyz and /metrics."""
    limits: Limits
    lease_name: str
    lease_namespace: str
    identity: str
    intervals: Intervals
    concurrency: int
    log_level: str
    log_format: str


@dataclass(frozen=True, slots=True)
class TemporalFiles:
    """Files with the operator's own credentials for its default Temporal. They are read again when they change."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    api_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Encryption:
    """Where the key ring is, and how many seconds a new key waits until it writes."""

    keys: Path
    settle: float


@dataclass(frozen=True, slots=True)
class _Option:
    flag: str
    parse: Callable[[str], Any]
    default: Any
    help: str
    metavar: str = "TEXT"

    @property
    def variable(self) -> str:
        return "TIDEMILL_" + self.flag.removeprefix("--").replace("-", "_").upper()

    @property
    def name(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")


def _installation(text: str) -> str:
    if not _INSTALLATION.fullmatch(text):
        raise ValueError(
            "must be 1 to 63 letters, digits, '-', '_' or '.', such as the UUID that the installation was given"
        )
    return text


def _seconds(least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text.removesuffix("s"))
        except ValueError:
            value = -1.0
        if not least <= value < 1e6:
            raise ValueError(f"must be a number of seconds, at least {least:g}, such as {max(least, 3):g}s")
        return value

    return parse


def _address(text: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        raise ValueError("must be HOST:PORT, such as 0.0.0.0:8080 or :8080")
    return match[1].strip("[]") or "0.0.0.0", int(match[2])  # noqa: S104 - a pod's probes come from outside


def _temporal_address(text: str) -> str:
    if not text:
        return ""
    host, port = _address(text)
    if host == "0.0.0.0" or port == 0:  # noqa: S104 - refused here, not bound
        raise ValueError("must be HOST:PORT of a Temporal frontend, such as temporal-frontend.temporal.svc:7233")
    return text


def _namespaces(text: str) -> tuple[str, ...]:
    listed = tuple(part for part in re.split(r"[,\s]+", text) if part)
    for name in listed:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
            raise ValueError(f"{name!r} is not the name of a namespace; give a list such as travel,sales, or nothing")
    return listed


def _file(text: str) -> Path | None:
    if not text:
        return None
    if not Path(text).is_file():
        raise ValueError(f"there is no file {text}")
    return Path(text)


def _folder(text: str) -> Path | None:
    if not text:
        return None
    if not Path(text).is_dir():
        raise ValueError(f"there is no folder {text}")
    return Path(text)


def _secret(text: str) -> str:
    if len(text) > 253 or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", text):
        raise ValueError("must be the name of a Secret, such as tidemill-encryption-keys")
    return text


def _yes(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


_OPTIONS: Final = (
    _Option("--installation", _installation, None, "id of this installation; prefixes all ids in Temporal (required)"),
    _Option("--namespaces", _namespaces, "", "namespaces to look after, comma-separated; all if not given", "LIST"),
    _Option("--kubeconfig", _file, "", "kubeconfig file; the pod's service account if not given", "FILE"),
    _Option("--context", str, "", "context in the kubeconfig; its current one if not given"),
    _Option("--temporal-address", _temporal_address, "", "frontend of the operator's own Temporal", "HOST:PORT"),
    _Option("--temporal-namespace", str, "default", "Temporal namespace"),
    _Option("--temporal-tls", _yes, "false", "connect by TLS (implied by the files below)", "true|false"),
    _Option("--temporal-server-name", str, "", "name to expect in the server's certificate"),
    _Option("--temporal-ca-file", _file, "", "certificate authority of the server", "FILE"),
    _Option("--temporal-cert-file", _file, "", "client certificate", "FILE"),
    _Option("--temporal-key-file", _file, "", "key of the client certificate", "FILE"),
    _Option("--temporal-api-key-file", _file, "", "file with an API key (Temporal Cloud)", "FILE"),
    _Option("--encryption-keys", _folder, "", "folder of the key ring; nothing is encrypted if not given", "DIR"),
    _Option("--encryption-secret", _secret, "tidemill-encryption-keys", "Secret that hands the ring to pools", "NAME"),
    _Option("--encryption-settle", _seconds(0), "120s", "how long after it is seen a new key writes", "SECONDS"),
    _Option("--worker-image", str, "ghcr.io/tidemill/worker:0.1.0", "image of pools that name none", "IMAGE"),
    _Option("--health-address", _address, ":8080", "where /healthz, /readyz and /metrics listen", "HOST:PORT"),
    _Option("--metrics-max-pipelines", _whole(0, 100_000), "2000", "most pipelines with series of their own", "N"),
    _Option("--metrics-max-pools", _whole(0, 100_000), "500", "most pools with series of their own", "N"),
    _Option("--lease-name", str, "", "name of the leader's Lease; tidemill-INSTALLATION if not given"),
    _Option("--lease-namespace", str, "", "namespace of the Lease; POD_NAMESPACE, else default"),
    _Option("--identity", str, "", "name of this process in the Lease; host name and a random part if not given"),
    _Option("--sweep-interval", _seconds(0.2), "3s", "how often Temporal is looked at", "SECONDS"),
    _Option("--resync-interval", _seconds(1), "600s", "how often everything is listed", "SECONDS"),
    _Option("--lease-duration", _seconds(2), "15s", "how long a leader's silence is borne", "SECONDS"),
    _Option(
        "--release-after", _seconds(1), "300s", "how long a deletion waits for gone credentials of Temporal", "SECONDS"
    ),
    _Option("--concurrency", _whole(1, 200), "16", "most objects worked on at once", "N"),
    _Option("--log-level", _one_of("debug", "info", "warning", "error"), "info", "least severity", "LEVEL"),
    _Option("--log-format", _one_of("text", "json"), "text", "one line an event, for people or programs", "FORMAT"),
)


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> OperatorSettings:
    """Settings from arguments, then environment variables (`TIDEMILL_...`), then defaults.

    Raises:
        ConfigError: A value is missing or wrong; the message names the argument and what would be right.
        SystemExit: `--help`, or an argument that doesn't exist (argparse says which).
    """
    given = vars(_parser().parse_args(list(arguments)))
    values = {option.name: _value(option, given[option.name], environment) for option in _OPTIONS}
    _together(values)
    return _settings(values, environment)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tidemill_operator",
        description="Turns DataPipelines and WorkerPools into Temporal Schedules and workers.",
        epilog="Each argument may be an environment variable instead: --worker-image is TIDEMILL_WORKER_IMAGE.",
        allow_abbrev=False,
    )
    for option in _OPTIONS:
        shown = f" ({option.default})" if option.default else ""
        parser.add_argument(option.flag, metavar=option.metavar, help=option.help + shown)
    return parser


def _value(option: _Option, given: str | None, environment: Mapping[str, str]) -> Any:
    text = given if given is not None else environment.get(option.variable, option.default)
    if text is None:
        raise ConfigError(f"{option.flag} (or {option.variable}) is missing: {option.help}")
    try:
        return option.parse(text)
    except ValueError as error:
        raise ConfigError(f"{option.flag} (or {option.variable}): {error}; found {text!r}") from None


def _together(values: Mapping[str, Any]) -> None:
    """Rules over several settings."""
    if (values["temporal_cert_file"] is None) != (values["temporal_key_file"] is None):
        raise ConfigError("--temporal-cert-file and --temporal-key-file belong together: give both or none")
    if values["temporal_api_key_file"] and values["temporal_cert_file"]:
        raise ConfigError("--temporal-api-key-file and --temporal-cert-file exclude each other: Temporal takes one")
    if values["context"] and values["kubeconfig"] is None:
        raise ConfigError("--context needs --kubeconfig: it names a context in that file")


def _settings(values: Mapping[str, Any], environment: Mapping[str, str]) -> OperatorSettings:
    files = TemporalFiles(
        ca=values["temporal_ca_file"],
        cert=values["temporal_cert_file"],
        key=values["temporal_key_file"],
        api_key=values["temporal_api_key_file"],
    )
    temporal = TemporalAddress(
        address=values["temporal_address"],
        namespace=values["temporal_namespace"],
        tls=values["temporal_tls"] or any((files.ca, files.cert, files.api_key)),
        server_name=values["temporal_server_name"] or None,
    )
    keys, settle = values["encryption_keys"], values["encryption_settle"]
    return OperatorSettings(
        decisions=Settings(
            installation=values["installation"],
            temporal=temporal if temporal.address else None,
            image=values["worker_image"],
            release_after=values["release_after"],
            key_ring=KeyRingOfPools(values["encryption_secret"], settle) if keys is not None else None,
        ),
        temporal_files=files,
        encryption=Encryption(keys, settle) if keys is not None else None,
        namespaces=values["namespaces"],
        kubeconfig=values["kubeconfig"],
        context=values["context"] or None,
        health=values["health_address"],
        limits=Limits(values["metrics_max_pipelines"], values["metrics_max_pools"]),
        lease_name=values["lease_name"] or _lease_name(values["installation"]),
        lease_namespace=values["lease_namespace"] or environment.get("POD_NAMESPACE") or "default",
        identity=values["identity"] or f"{environment.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}",
        intervals=Intervals(
            sweep=values["sweep_interval"], resync=values["resync_interval"], lease=values["lease_duration"]
        ),
        concurrency=values["concurrency"],
        log_level=values["log_level"],
        log_format=values["log_format"],
    )


def _lease_name(installation: str) -> str:
    """A DNS name, whatever letters the installation's id has."""
    plain = re.sub(r"[^a-z0-9-]", "-", installation.lower()).strip("-")
    return f"tidemill-{plain}" if plain == installation else f"tidemill-{plain}-{names.content_hash(installation)[:8]}"
