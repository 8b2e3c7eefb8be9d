"""What a pipeline sends to an HTTP API: where to, how many rows at once, and how they are put."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import ByteSize, parse_bytes
from tidemill_api.v1alpha1.http_source import RateLimit

_TAKEN: Final = ("authorization", "connection", "content-length", "content-type", "host", "transfer-encoding")


class Batching(Model):
    """How many rows are sent at once: as many as both bounds allow, and one at least."""

    max_rows: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Most rows."""
    max_bytes: ByteSize = "1Mi"
    """Most bytes of a request's body. A row that is larger is sent by itself."""

    rules = (
        Rule(
            cel="!has(self.maxBytes) || !self.maxBytes.matches('^0+[A-Za-z]*$')",
            message="maxBytes must be more than 0, such as 1Mi",
            holds=lambda s: parse_bytes(s.max_bytes) > 0,
            field=".maxBytes",
        ),
    )


class SentRows(Model):
    """Rows that are sent to an HTTP API, some at once, each request with a key by which the receiver knows it again."""

    path: Annotated[
        str, Field(pattern=r"^([^/?#\x00-\x20\x7f\\][^?#\x00-\x1f\x7f\\]*)?$", max_length=1024, examples=["v1/orders"])
    ] = ""
    """Path below the connection's URL, not percent-encoded and without query."""
    method: Literal["POST", "PUT"] = "POST"
    """Method of the requests."""
    body: Literal["JSONArray", "JSONLines", "JSONObject"] = "JSONArray"
    """How rows are put: an array of objects, an object a line (`application/x-ndjson`), or one row a request, as an
    object."""
    wrap: Annotated[str, Field(min_length=1, max_length=128, examples=["items"])] | None = None
    """Of an array: the key of an object around it, `{"items": [...]}`."""
    batch: Batching = Batching()
    """How many rows are sent at once."""
    idempotency_header: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_|~0-9A-Za-z-]+$", max_length=64)] = (
        "Idempotency-Key"
    )
    """Header with the key of a request. It is the same however often the same rows are sent again: a receiver that
    heeds it takes them once."""
    rate_limit: RateLimit | None = None
    """How often a worker sends, for all chunks that it loads; as often as the server answers if not given."""

    rules = (
        Rule(
            cel="!has(self.path) || !self.path.split('/').exists(p, p == '..') && !('/' + self.path).contains('/..;')",
            message="path must stay below the connection's URL: no '..'",
            holds=lambda s: all(segment.partition(";")[0] != ".." for segment in s.path.split("/")),
            field=".path",
        ),
        Rule(
            cel="!has(self.wrap) || !has(self.body) || self.body == 'JSONArray'",
            message="wrap has an effect for a JSONArray only",
            holds=lambda s: s.wrap is None or s.body == "JSONArray",
            field=".wrap",
        ),
        Rule(
            cel="!has(self.body) || self.body != 'JSONObject' || !has(self.batch)",
            message="a JSONObject is one row: batch has no effect",
            holds=lambda s: s.body != "JSONObject" or s.batch == Batching(),
            field=".batch",
        ),
        Rule(
            cel="!has(self.idempotencyHeader) || !(self.idempotencyHeader.lowerAscii() in ["
            + ", ".join(f"'{name}'" for name in _TAKEN)
            + "])",
            message="idempotencyHeader is a header that requests have anyway: name one of its own",
            holds=lambda s: s.idempotency_header.lower() not in _TAKEN,
            field=".idempotencyHeader",
        ),
    )

    @property
    def rows_at_once(self) -> int:
        """Most rows of a request."""
        return 1 if self.body == "JSONObject" else self.batch.max_rows

    @property
    def bytes_at_once(self) -> int:
        """Most bytes of a request's body, unless it is one row."""
        return parse_bytes(self.batch.max_bytes)
