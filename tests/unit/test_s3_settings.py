"""Connections to object stores as pools and laptops say them: what is mounted, and where a connection points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.operator_world import pool
from tests.unit.pool_world import children_of, observed
from tidemill_api.contract import WorkerConfig
from tidemill_cli.dev.layout import Layout, LayoutError, lay_out
from tidemill_cli.dev.settings import FILE_NAME, load
from tidemill_cli.manifests import load_manifests

STORE = {"url": "s3://landing/daily/", "secretRef": {"name": "landing-s3"}, "endpoint": "http://minio:9000"}


def test_a_pod_has_the_keys_of_the_secret_and_starts_without_a_session_token() -> None:
    connections = [{"name": "landing", "files": STORE}, pool()["spec"]["connections"][1]]
    children = children_of(observed(pool(spec={"connections": connections})))
    volume = children["Deployment"]["spec"]["template"]["spec"]["volumes"][0]
    found = [each["secret"] for each in volume["projected"]["sources"] if "secret" in each]
    assert [
        ([item["path"] for item in each["items"]], each.get("optional", False))
        for each in found
        if each["name"] == "landing-s3"
    ] == [
        (["secrets/landing-s3/AWS_ACCESS_KEY_ID", "secrets/landing-s3/AWS_SECRET_ACCESS_KEY"], False),
        (["secrets/landing-s3/AWS_SESSION_TOKEN"], True),
    ]
    config = WorkerConfig.model_validate(json.loads(children["ConfigMap"]["data"]["worker.json"]))
    assert config.connections[0].files is not None
    assert config.connections[0].files.to_json() == STORE | {"access": "Read"}


def laid(folder: Path, settings: str) -> Layout:
    source = {"name": "raw", "connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}}
    sink = {"name": "out", "input": "raw", "connection": "warehouse", "postgres": {"table": "public.t"}}
    specs: list[tuple[str, dict[str, Any]]] = [
        (
            "DataPipeline",
            {"workerPoolRef": {"name": "etl"}, "sources": [source], "sinks": [sink | {"writeDisposition": "Append"}]},
        ),
        (
            "WorkerPool",
            {
                "connections": [
                    {"name": "landing", "files": STORE},
                    {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "w", "key": "dsn"}}}},
                ],
                "metastore": {"connection": "warehouse"},
            },
        ),
    ]
    for kind, spec in specs:
        head = {"apiVersion": "tidemill.dev/v1alpha1", "kind": kind, "metadata": {"name": "etl", "namespace": "n"}}
        (folder / f"{kind}.json").write_text(json.dumps(head | {"spec": spec}), encoding="utf-8")
    (folder / FILE_NAME).write_text(settings, encoding="utf-8")
    manifests = load_manifests([folder])
    assert not manifests.errors
    return lay_out(manifests.pipelines, manifests.pools, load, {}, {})


def test_on_a_laptop_a_bucket_is_what_its_settings_say_and_never_the_pools(tmp_path: Path) -> None:
    target = '{url: "s3://mine/", endpoint: "http://127.0.0.1:9000", region: eu-west-1}'
    (made,) = laid(tmp_path, f"connections: {{landing: {{s3: {target}}}}}").pools
    assert made.connections[0].files is not None
    assert made.connections[0].files.model_dump(exclude_none=True) == {
        "url": "s3://mine/",
        "endpoint": "http://127.0.0.1:9000",
        "region": "eu-west-1",
        "access": "Read",
    }
    with pytest.raises(LayoutError) as refused:
        laid(tmp_path, "")
    assert (
        "landing: has no entry there, and the pool's keys for s3://landing/daily/ are in its cluster; add "
        '`landing: {files: FOLDER}` or `{s3: {url: "s3://landing/daily/"}}`' in str(refused.value)
    )
