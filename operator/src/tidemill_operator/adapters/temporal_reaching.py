"""How Temporal is reached: by which credentials, and why it wasn't. Pure."""

from __future__ import annotations

import re
from typing import Final

from temporalio.service import TLSConfig

from tidemill_operator.views import TemporalTarget

_OUTERMOST: Final = re.compile(
    r"^Failed client connect: Server connection error: tonic::transport::Error\(Transport, (.*)\)$"
)
_INNERMOST: Final = re.compile(r'(?:message|error): "([^"]+)"')


def tls(target: TemporalTarget) -> TLSConfig | bool:
    """What the client is given for TLS."""
    if not target.tls and target.api_key is None:
        return False
    return TLSConfig(
        server_root_ca_cert=target.ca,
        domain=target.server_name,
        client_cert=target.cert,
        client_private_key=target.key,
    )


def why(error: Exception) -> str:
    """Why it couldn't be connected to: the system's own sentence, out of the SDK's rendering of nested errors."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = str(error)
    told = _INNERMOST.findall(text) or _OUTERMOST.findall(text)
    return str(told[-1] if told else text)[:300]
