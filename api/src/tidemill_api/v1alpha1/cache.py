"""Where answers are kept that needn't be asked for again: one cache for all workers of a pool."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import ZERO_DURATION, Duration, SecretValue, parse_duration


class RedisCache(Model):
    """A Redis or Valkey server."""

    url: SecretValue
    """Its URL (`redis://:password@host:6379/0`, `rediss://` for TLS), in a Secret."""


class Cache(Model):
    """A cache. What it can't give is computed; so Redis being away costs time, and never a run."""

    redis: RedisCache
    """Where it is."""
    default_ttl: Annotated[Duration, Field(alias="defaultTTL")] = "1h"
    """How long an answer counts as fresh where nothing else is said; up to a tenth less, so that not all end at
    once."""

    rules = (
        Rule(
            cel=f"!has(self.defaultTTL) || !self.defaultTTL.matches('{ZERO_DURATION}')",
            message="defaultTTL must be longer than 0, such as 1h",
            holds=lambda s: parse_duration(s.default_ttl) > timedelta(0),
            field=".defaultTTL",
        ),
    )


TableName = Annotated[
    str,
    Field(
        pattern=r"^[a-z]([-a-z0-9_]*[a-z0-9])?/[a-zA-Z_][a-zA-Z0-9_$]{0,62}\.[a-zA-Z_][a-zA-Z0-9_$]{0,62}$",
        max_length=191,
        examples=["warehouse/public.orders"],
    ),
]
"""A connection and a table."""


_TTL_RULE = Rule(
    cel=f"!has(self.ttl) || !self.ttl.matches('{ZERO_DURATION}')",
    message="ttl must be longer than 0, such as 10m",
    holds=lambda s: s.ttl is None or parse_duration(s.ttl) > timedelta(0),
    field=".ttl",
)


class AnswerCache(Model):
    """How long answers of an API are kept; the pool says where. Without a cache in the pool it has no effect."""

    ttl: Duration | None = None
    """How long an answer counts as fresh; the pool's `defaultTTL` if not given. After that the API is asked whether it
    has changed (by ETag or time of change), where it says which one it is."""
    tables: Annotated[tuple[TableName, ...], Field(max_length=16)] = ()
    """Tables behind the API, as `connection/schema.table`: when a sink of this pool has written one of them, its
    answers are asked for anew."""

    rules = (_TTL_RULE,)


class LookupCache(Model):
    """How long the rows of a joined table are kept; the pool says where. Without a cache in the pool they aren't."""

    ttl: Duration | None = None
    """How long the rows count as fresh; the pool's `defaultTTL` if not given."""
    tables: Annotated[tuple[TableName, ...], Field(max_length=16)] = ()
    """More tables that its rows come from, as `connection/schema.table`: those behind a view, or the table itself by
    the name of the connection that writes it. When a sink of this pool has written one of them, or the source's own
    table by the source's own connection, the rows are read anew."""

    rules = (_TTL_RULE,)


class FunctionCache(Model):
    """How long what a function gives is kept; the pool says where. Without a cache in the pool it isn't."""

    ttl: Duration | None = None
    """How long what it gave counts as fresh; the pool's `defaultTTL` if not given."""
    tables: Annotated[tuple[TableName, ...], Field(max_length=16)] = ()
    """Tables that the function looks into by itself, as `connection/schema.table`: when a sink of this pool has written
    one of them, it is called anew."""

    rules = (_TTL_RULE,)
