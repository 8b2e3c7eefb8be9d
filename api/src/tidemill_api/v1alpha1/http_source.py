"""What a pipeline reads of an HTTP API: what it asks for, where the rows are in an answer, and how pages follow."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import ZERO_DURATION, Duration, null_is_absence, parse_duration
from tidemill_api.v1alpha1.cache import AnswerCache

QueryName = Annotated[str, Field(pattern=r"^[^\x00-\x20\x7f&=#?]+$", max_length=128, examples=["per_page"])]
"""The name of a parameter in a URL's query."""
JMESPath = Annotated[str, Field(min_length=1, max_length=1024, examples=["data.items"])]
"""An expression of JMESPath over an answer's JSON."""


class PageNumber(Model):
    """Pages by their number: `?page=1`, `?page=2`, ..."""

    parameter: QueryName = "page"
    """Parameter of the query that names the page."""
    first: Annotated[int, Field(ge=0, le=1)] = 1
    """Number of the first page."""
    total: JMESPath | None = None
    """Where an answer says how many pages there are. Without it, reading ends at the first page without rows."""


class Offset(Model):
    """Pages by the number of rows before them: `?offset=0`, `?offset=100`, ..."""

    parameter: QueryName = "offset"
    """Parameter of the query that says how many rows to pass over."""
    total: JMESPath | None = None
    """Where an answer says how many rows there are. Without it, reading ends at the first page without rows."""


class Cursor(Model):
    """Each answer holds a text or number that asks for the next page."""

    next: JMESPath
    """Where it is in an answer; null, false or an empty text there: this is the last page."""
    parameter: QueryName = "cursor"
    """Parameter of the query that takes it."""


class LinkHeader(Model):
    """Each answer has a header `Link: <...>; rel="next"` with the next page's URL; the last one hasn't."""


class NextURL(Model):
    """Each answer holds the next page's URL."""

    url: JMESPath
    """Where it is in an answer; null or an empty text there: this is the last page."""


class Paging(Model):
    """How the pages follow each other: exactly one of page, offset, cursor, link and next."""

    page: PageNumber | None = None
    """By number."""
    offset: Offset | None = None
    """By the number of rows before."""
    cursor: Cursor | None = None
    """By a cursor in the answer."""
    link: LinkHeader | None = None
    """By the header Link; it has no settings (`link: {}`)."""
    next: NextURL | None = None
    """By a URL in the answer."""

    rules = (
        Rule(
            cel="[has(self.page), has(self.offset), has(self.cursor), has(self.link), has(self.next)]"
            ".filter(x, x).size() == 1",
            message="paging is exactly one of: page, offset, cursor, link, next",
            holds=lambda s: [s.page, s.offset, s.cursor, s.link, s.next].count(None) == 4,
        ),
    )


class RateLimit(Model):
    """How often a run asks."""

    requests: Annotated[int, Field(ge=1, le=1_000_000)]
    """Most requests in that time; they are spread evenly."""
    per: Duration = "1s"
    """The time, such as 1s or 1m."""

    rules = (
        Rule(
            cel=f"!has(self.per) || !self.per.matches('{ZERO_DURATION}')",
            message="per must be longer than 0, such as 1s",
            holds=lambda s: parse_duration(s.per) > timedelta(0),
            field=".per",
        ),
    )


class HTTPSource(Model):
    """Rows of an HTTP API that answers with JSON. All pages are fetched first, then loaded in one piece."""

    path: Annotated[
        str, Field(pattern=r"^([^/?#\x00-\x20\x7f\\][^?#\x00-\x1f\x7f\\]*)?$", max_length=1024, examples=["v1/issues"])
    ] = ""
    """Path below the connection's URL, not percent-encoded and without query. It may hold values of the run as
    `files.path` may: `{interval_start:%Y-%m-%d}`, `{parameters.NAME}`."""
    query: Annotated[
        dict[QueryName, Annotated[str, Field(max_length=1024)]], Field(max_length=32), null_is_absence()
    ] = Field(default_factory=dict)
    """Parameters of the URL's query: `{since: "{interval_start}", per_page: "100"}`. They may hold values of the run as
    well, whatever signs these have: values are encoded."""
    rows: JMESPath = "@"
    """Where the rows are in an answer: JMESPath to an array of objects, or to one object. Null fails the run: where it
    means that there are none, write ``items || `[]` ``."""
    paging: Paging | None = None
    """How pages follow each other; one page if not given."""
    max_pages: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """More pages than that fail the run: then the paging doesn't end, or the run asks for too much."""
    rate_limit: RateLimit | None = None
    """How often a run asks; as often as the server answers if not given."""
    cache: AnswerCache | None = None
    """Keep answers, for later runs too (`cache: {}` as long as the pool says); each run asks anew if not given."""

    rules = (
        Rule(
            cel="!has(self.path) || !self.path.split('/').exists(p, p == '..') && !('/' + self.path).contains('/..;')",
            message="path must stay below the connection's URL: no '..'",
            holds=lambda s: all(segment.partition(";")[0] != ".." for segment in s.path.split("/")),
            field=".path",
        ),
    )
