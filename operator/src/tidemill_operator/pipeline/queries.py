"""The texts of queries that stand in ConfigMaps. They are read by name at each pass: nothing is listed or watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidemill_api.names import content_hash
from tidemill_check.queries import Ref, query_refs, with_queries
from tidemill_operator.clients import Clients, Object


@dataclass(frozen=True, slots=True)
class Queries:
    """What the ConfigMaps that a pipeline names hold now."""

    refs: tuple[Ref, ...] = ()
    data: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    """Of each ConfigMap that is there its name, and its keys with their texts."""

    @property
    def known(self) -> dict[str, dict[str, str]]:
        """The data of each ConfigMap that is there."""
        return {name: dict(texts) for name, texts in self.data}

    @property
    def texts(self) -> dict[Ref, str]:
        """The text of each reference that leads somewhere."""
        known = self.known
        return {(name, key): known[name][key] for name, key in self.refs if key in known.get(name, {})}

    @property
    def missing(self) -> bool:
        """Whether a reference leads nowhere yet."""
        return len(self.texts) < len(self.refs)

    def into(self, manifest: Object) -> Object:
        """The pipeline's manifest with the texts in place."""
        return {**manifest, "spec": with_queries(manifest["spec"], self.texts)} if self.refs else manifest

    def status(self) -> list[dict[str, Any]]:
        """`status.queries`."""
        return [{"configMap": name, "key": key, "hash": content_hash(text)} for (name, key), text in self.texts.items()]


NONE: Final = Queries()
"""Of a pipeline whose queries all stand in its manifest."""


async def queries_of(manifest: Object, clients: Clients) -> Queries:
    """Read the ConfigMaps that a pipeline's steps name. Raises KubernetesError, KubernetesUnavailable."""
    refs = query_refs(manifest["spec"])
    data = []
    for name in dict.fromkeys(name for name, _ in refs):
        found = await clients.kubernetes.get("ConfigMap", manifest["metadata"]["namespace"], name)
        if found is not None:
            data.append((name, tuple(sorted(_data(found).items()))))
    return Queries(refs, tuple(data))


def _data(config_map: Object) -> Mapping[str, str]:
    data: Mapping[str, str] = config_map.get("data") or {}
    return data
