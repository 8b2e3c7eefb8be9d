"""Whether the settings of several folders can hold at once: a pool has one worker, so each connection one meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tidemill_api.v1alpha1 import DataPipeline
from tidemill_cli.dev.settings import SettingsFile, Target
from tidemill_cli.manifests import Manifest


def disagreements(
    pool: str,
    beside: SettingsFile,
    users: Iterable[Manifest[DataPipeline]],
    settings: Callable[[Path], SettingsFile],
    *,
    declared: bool,
) -> Iterator[str]:
    """What is wrong where the folder of a pipeline gives one of its connections another meaning than `beside`.

    `beside` are the settings that the pool is made with, those of its manifest's folder if it is `declared`, else of
    its first pipeline's. Nothing said beside a pipeline is no other meaning if the pool itself says one.
    """
    for user in users:
        own = settings(user.place.file.parent)
        if own.file == beside.file:
            continue
        for name in _used(user.object):
            here, there = own.settings.connections.get(name), beside.settings.connections.get(name)
            if _meaning(own, here) == _meaning(beside, there) or (here is None and declared):
                continue
            yield (
                f"connection {name} of pool {pool}: {beside.shown} {_says(beside, there)} and "
                f"{own.shown} {_says(own, here)}: a pool's connection is one place for all its pipelines, "
                "so let both files name the same, "
                "name different pools, or run the folders one by one"
            )


def _used(pipeline: DataPipeline) -> Iterable[str]:
    spec = pipeline.spec
    names = (*(source.connection for source in spec.sources), *(sink.connection for sink in spec.sinks))
    return dict.fromkeys(name for name in names if name)


def _meaning(file: SettingsFile, target: Target | None) -> object:
    """To compare: a folder is the same however it is written."""
    if target is None or target.files is None:
        return target
    return (file.folder / Path(target.files).expanduser()).resolve()


def _says(file: SettingsFile, target: Target | None) -> str:
    """In words, without a connection string: it may hold a password."""
    if target is None:
        return "says nothing of it"
    if target.files is not None:
        return f"says files: {target.files} ({_meaning(file, target)})"
    kind = "s3" if target.s3 is not None else "postgres" if target.postgres is not None else "http"
    return f"says {kind}"
