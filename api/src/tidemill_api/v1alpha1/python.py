"""Functions of users: how a manifest names one, and which of them a pool allows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tidemill_api.v1alpha1._base import Model

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
Entrypoint = Annotated[
    str, Field(pattern=rf"^{_NAME}(\.{_NAME})*:{_NAME}$", max_length=253, examples=["travel.steps:enrich"])
]
"""A function by its module and its name in it."""
EntrypointPattern = Annotated[
    str, Field(pattern=rf"^{_NAME}(\.{_NAME})*(\.\*)?:(\*|{_NAME})$", max_length=253, examples=["travel.steps:*"])
]
"""Functions: one, all of a module (`travel.steps:*`), or all of the modules below one (`travel.*:*`)."""


class PythonSettings(Model):
    """Python that pipelines may run."""

    allowed_entrypoints: Annotated[tuple[EntrypointPattern, ...], Field(max_length=64)] = ()
    """Functions that steps and sources may name: `travel.steps:enrich`, all of a module (`travel.steps:*`), or all of
    the modules below one (`travel.*:*`). None if not given. What such a function can reach, whoever may write a
    pipeline for this pool can reach: it runs in the workers, with their files, Secrets and network."""


class PythonSource(Model):
    """A function of your own that gives rows, batch by batch."""

    entrypoint: Entrypoint
    """Module and function, `travel.sources:orders`. The pool must allow it (`spec.python.allowedEntrypoints`)."""
    keep_state: bool = False
    """What the function leaves in its state is kept with the rows, and is there in the next run: so it can give only
    what is new. Runs of backfills begin with an empty state, and keep none."""
