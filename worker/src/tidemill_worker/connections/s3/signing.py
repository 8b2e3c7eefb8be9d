"""Signatures of requests: AWS Signature Version 4, as S3 wants it. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

_UNRESERVED: Final = "-_.~"


@dataclass(frozen=True, slots=True)
class Keys:
    """Whose requests they are."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    """Of keys for a while."""


def amazon(region: str) -> str:
    """The domain of Amazon's services in a region."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def path_of(*segments: str) -> str:
    """A request's path: the segments joined, each character that isn't plain as `%XX` but for slashes."""
    return "/" + "/".join(quote(segment, safe=f"/{_UNRESERVED}") for segment in segments if segment)


def query_of(query: Sequence[tuple[str, str]]) -> str:
    """A request's query, as it is sent and signed."""
    pairs = sorted((quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED)) for name, value in query)
    return "&".join(f"{name}={value}" for name, value in pairs)


def signed(  # noqa: PLR0913, PLR0917 - all that a signature is of
    method: str,
    host: str,
    path: str,
    query: str,
    payload: str,
    keys: Keys,
    region: str,
    now: datetime,
    own: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[str, str]:
    """Headers that make a request the keys' own. `path` and `query` as they are sent, `payload` the body's SHA-256.

    `own` are further headers of AWS (`x-amz-...`), which have to be signed too.
    """
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {**own, "host": host, "x-amz-content-sha256": payload, "x-amz-date": moment}
    if keys.token is not None:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{keys.secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = _hmac(key, part)
    signature = _hmac(key, text).hex()
    return headers | {
        "authorization": f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    }


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
