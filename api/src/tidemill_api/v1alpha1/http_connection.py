"""A web server that pipelines of a pool can reach."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import Model
from tidemill_api.v1alpha1._types import LocalRef, SecretValue


class HeadersFrom(Model):
    """Headers that are secret."""

    secret_ref: LocalRef
    """A Secret: each of its keys is a header (`Authorization`), whose value is what the key holds."""


class Webhook(Model):
    """What notifications and lineage need that are sent to the server."""

    path_from: SecretValue | None = None
    """The secret part of the URL, as Slack's and others' webhooks have one: what the Secret holds comes after `url` and
    before the path of a notification."""
    signing_key: SecretValue | None = None
    """Signs what is sent, so that its receiver can tell who did: HMAC-SHA256 as in Standard Webhooks. The key counts
    as it stands, or is base64 behind `whsec_`."""


WebURL = Annotated[
    str,
    Field(
        pattern=r"^https?://[-A-Za-z0-9._]{1,253}(:[0-9]{1,5})?(/[-A-Za-z0-9._~%!$&'()*+,;=:@/]*)?$",
        max_length=1024,
        examples=["https://api.example.com/v1/"],
    ),
]
"""A web server, and a path on it."""


class HTTPConnection(Model):
    """A web server, or a part of one."""

    url: WebURL
    """Where it is: `https://api.example.com/v1/`. Paths of sources are relative to it and can't leave it: another host,
    port or scheme is refused, in redirects and links to next pages too."""
    headers_from: HeadersFrom | None = None
    """Headers of each request, such as an API's token. They are sent to this server alone."""
    access: Literal["Read", "Write"] = "Read"
    """Write: sinks may send rows to it. Sources may read either way; notifications need `webhook` and no Write."""
    webhook: Webhook | None = None
    """Lets pipelines send notifications to it, with its headers: `{}`, or what these, and lineage, need for it. Without
    it only sources and sinks use the connection, and the pool's own lineage."""
