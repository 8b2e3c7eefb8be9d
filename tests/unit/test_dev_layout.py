"""What `tidemill dev` decides from manifests and settings before it starts anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tidemill_api.contract import WorkerConfig
from tidemill_cli.dev.folder import FolderInUseError, StateFolder, state_folder
from tidemill_cli.dev.layout import METASTORE, Embedded, External, Layout, LayoutError, lay_out
from tidemill_cli.dev.settings import FILE_NAME, load
from tidemill_cli.dev.worker import describe, modules
from tidemill_cli.manifests import load_manifests

WAREHOUSE: dict[str, Any] = {"dsn": {"secretKeyRef": {"name": "pg", "key": "url"}}, "schemas": ["public", "mart"]}
POOL: dict[str, Any] = {
    "apiVersion": "tidemill.dev/v1alpha1",
    "kind": "WorkerPool",
    "metadata": {"name": "etl", "namespace": "travel"},
    "spec": {
        "concurrency": {"activities": 3},
        "connections": [
            {"name": "landing", "files": {"url": "file:///nowhere/landing/"}},
            {"name": "ware_house", "postgres": WAREHOUSE},
        ],
        "metastore": {"connection": "ware_house"},
    },
}
PIPELINE: dict[str, Any] = {
    "apiVersion": "tidemill.dev/v1alpha1",
    "kind": "DataPipeline",
    "metadata": {"name": "flights", "namespace": "travel"},
    "spec": {
        "workerPoolRef": {"name": "etl"},
        "schedule": {"crons": ["@daily"], "overlapPolicy": "BufferOne"},
        "parameters": [{"name": "carrier", "default": ""}],
        "sources": [{"name": "raw", "connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}}],
        "sinks": [
            {
                "name": "out",
                "input": "raw",
                "connection": "ware_house",
                "postgres": {"table": "mart.flights"},
                "writeDisposition": "Append",
            }
        ],
    },
}


def laid(
    folder: Path,
    *objects: Mapping[str, Any],
    settings: str = "",
    given: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Layout:
    """The layout of these objects in a folder with these settings."""
    for index, each in enumerate(objects):
        (folder / f"{index}.json").write_text(json.dumps(each), encoding="utf-8")
    (folder / FILE_NAME).write_text(settings, encoding="utf-8")
    manifests = load_manifests([folder])
    assert not manifests.errors
    return lay_out(manifests.pipelines, manifests.pools, load, given or {}, environment or {})


def with_data(folder: Path) -> str:
    """Settings that give the connection `landing` a folder with a space in its name."""
    (folder / "my data").mkdir()
    return "connections: {landing: {files: './my data'}}"


def test_a_pool_keeps_what_it_says_but_for_where_connections_point(tmp_path: Path) -> None:
    layout = laid(tmp_path, POOL, PIPELINE, settings=with_data(tmp_path))

    (pool,) = layout.pools
    landing, warehouse = pool.connections
    assert (pool.namespace, pool.name, pool.concurrency.activities) == ("travel", "etl", 3)
    assert pool.task_queue == "dev/travel/etl"
    assert landing.files is not None
    assert landing.files.url == (tmp_path / "my data").as_uri()
    assert warehouse.postgres is not None
    assert warehouse.postgres.schemas == ("public", "mart")
    assert pool.postgres == (Embedded("ware_house", ("public", "mart")),)
    assert pool.keeps == pool.postgres[0]
    assert layout.embedded == pool.postgres


def test_a_pipeline_keeps_its_identity_from_session_to_session(tmp_path: Path) -> None:
    settings = with_data(tmp_path)
    first = laid(tmp_path, POOL, PIPELINE, settings=settings).pipelines[0]
    again = laid(tmp_path, POOL, PIPELINE, settings=settings).pipelines[0]

    assert str(first.id) == "dev/travel/flights"
    assert first.uid == again.uid


def test_a_pipeline_gets_the_parameters_that_it_declares(tmp_path: Path) -> None:
    given = {"carrier": "UA", "other": "not declared here"}
    pipeline = laid(tmp_path, POOL, PIPELINE, settings=with_data(tmp_path), given=given).pipelines[0]

    assert pipeline.given == {"carrier": "UA"}


def test_a_pipeline_without_its_pool_gets_one_with_what_it_uses(tmp_path: Path) -> None:
    settings = with_data(tmp_path) + "\npool: {concurrency: {activities: 2}}"

    (pool,) = laid(tmp_path, PIPELINE, settings=settings).pools

    assert [each.name for each in pool.connections] == ["landing", "ware_house"]
    assert (pool.metastore.connection, pool.concurrency.activities) == ("ware_house", 2)
    assert pool.postgres == (Embedded("ware_house", ("mart",)),)


def test_what_tidemill_keeps_for_itself_stays_here_if_the_rows_go_elsewhere(tmp_path: Path) -> None:
    settings = "connections: {landing: {files: .}, ware_house: {postgres: {dsn: x}}}"

    (pool,) = laid(tmp_path, PIPELINE, settings=settings).pools

    assert pool.metastore.connection == METASTORE
    assert pool.postgres == (External("ware_house", "x"), Embedded(METASTORE, ("public",)))


@pytest.mark.parametrize(
    ("target", "environment"),
    [("dsn: postgresql://elsewhere/w", {}), ("dsnEnv: W", {"W": "postgresql://elsewhere/w"})],
    ids=["dsn", "dsnEnv"],
)
def test_a_postgres_that_runs_elsewhere(tmp_path: Path, target: str, environment: Mapping[str, str]) -> None:
    (tmp_path / "data").mkdir()
    settings = f"connections: {{landing: {{files: ./data}}, ware_house: {{postgres: {{{target}}}}}}}"

    (pool,) = laid(tmp_path, POOL, PIPELINE, settings=settings, environment=environment).pools

    assert pool.postgres == (External("ware_house", "postgresql://elsewhere/w"),)
    assert "elsewhere" not in repr(pool)


def test_the_pools_folder_serves_where_it_is_on_this_machine(tmp_path: Path) -> None:
    there = tmp_path / "landing"
    there.mkdir()
    connections = [{"name": "landing", "files": {"url": there.as_uri()}}, POOL["spec"]["connections"][1]]

    (pool,) = laid(tmp_path, {**POOL, "spec": {**POOL["spec"], "connections": connections}}, PIPELINE).pools

    assert pool.connections[0].files is not None
    assert pool.connections[0].files.url == there.as_uri()


TRACKER = {"name": "tracker", "http": {"url": "https://t.example/", "headersFrom": {"secretRef": {"name": "t"}}}}
WEB_POOL = {**POOL, "spec": {**POOL["spec"], "connections": [TRACKER, POOL["spec"]["connections"][1]]}}
WEB_PIPELINE = {
    **PIPELINE,
    "spec": {
        **PIPELINE["spec"],
        "sources": [
            {
                "name": "raw",
                "connection": "tracker",
                "http": {"path": "issues"},
                "columns": [{"name": "id", "type": "int64"}],
            }
        ],
    },
}


@pytest.mark.parametrize("pools", [(), (WEB_POOL,)], ids=["without its pool", "with its pool"])
def test_a_web_server_gets_its_headers_from_the_environment(tmp_path: Path, pools: Sequence[Any]) -> None:
    settings = "connections: {tracker: {http: {url: 'http://here/', headersEnv: {X-Key: KEY}}}}"

    (pool,) = laid(tmp_path, *pools, WEB_PIPELINE, settings=settings, environment={"KEY": "s3cret"}).pools

    found = next(each.http for each in pool.connections if each.name == "tracker")
    assert found is not None
    assert found.url == "http://here/"
    assert found.headers_from is not None
    assert "s3cret" not in repr(pool)
    files = StateFolder(tmp_path / "state", kept=True).worker(pool, "temporal:7233", {}, "redis://here/0")
    assert (files.secrets / found.headers_from.secret_ref.name / "X-Key").read_text() == "s3cret"
    config = WorkerConfig.model_validate_json(files.config.read_bytes())
    assert config.cache is not None
    ref = config.cache.redis.url.secret_key_ref
    assert (files.secrets / ref.name / ref.key).read_text() == "redis://here/0"


WRONG = {
    "headers that are in the cluster": (
        "",
        (WEB_POOL, WEB_PIPELINE),
        "spec.connections[0]: tracker: has its headers in the Secret t of the cluster; add `{http: {headersEnv:",
    ),
    "a web server nowhere": ("", (WEB_PIPELINE,), "tracker: has no entry there; add `{http: {url: URL}}`"),
    "files for a web server": (
        "connections: {tracker: {files: .}}",
        (WEB_POOL, WEB_PIPELINE),
        "tracker: is a http connection, but its entry there says something else",
    ),
    "no such header's variable": (
        "connections: {tracker: {http: {headersEnv: {X-Key: NOT_SET}}}}",
        (WEB_POOL, WEB_PIPELINE),
        "its headersEnv names the environment variable NOT_SET, which is not set",
    ),
    "no folder given": ("", (POOL, PIPELINE), "spec.connections[0]: landing: has no entry there and /nowhere/landing"),
    "no folder there": (
        "connections: {landing: {files: ./gone}}",
        (POOL, PIPELINE),
        "gone, which is no folder",
    ),
    "files for postgres": (
        "connections: {landing: {files: .}, ware_house: {files: .}}",
        (POOL, PIPELINE),
        "spec.connections[1]: ware_house: is a postgres connection",
    ),
    "postgres for files": (
        "connections: {landing: {postgres: {dsn: x}}}",
        (POOL, PIPELINE),
        "spec.connections[0]: landing: is a files connection",
    ),
    "no such variable": (
        "connections: {landing: {files: .}, ware_house: {postgres: {dsnEnv: NOT_SET}}}",
        (POOL, PIPELINE),
        "NOT_SET, which is not set",
    ),
    "no pool and no folder": ("", (PIPELINE,), "spec.sources[0].connection: landing: has no entry"),
    "no pipeline": ("connections: {landing: {files: .}}", (POOL,), "there is no DataPipeline"),
}


@pytest.mark.parametrize(("settings", "objects", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_run_here_is_said_with_its_field(
    tmp_path: Path, settings: str, objects: tuple[Mapping[str, Any], ...], said: str
) -> None:
    with pytest.raises(LayoutError) as raised:
        laid(tmp_path, *objects, settings=settings)

    (problem,) = raised.value.problems
    assert said in problem


def in_folders(root: Path, first: str, second: str, pool_in: str = "") -> Layout:
    """The layout of two folders with these settings, each with a pipeline and data of its own."""
    for name, text in {"first": first, "second": second}.items():
        (root / name / "data").mkdir(parents=True)
        (root / name / FILE_NAME).write_text(text, encoding="utf-8")
        named = {**PIPELINE, "metadata": {"name": name, "namespace": "travel"}}
        (root / name / "pipeline.json").write_text(json.dumps(named), encoding="utf-8")
    if pool_in:
        (root / pool_in / "pool.json").write_text(json.dumps(POOL), encoding="utf-8")
    manifests = load_manifests([root])
    return lay_out(manifests.pipelines, manifests.pools, load, {}, {})


HERE = "connections: {landing: {files: .}}"
AGREEING = {
    "the same folder, written otherwise": ("connections: {landing: {files: ../first}}", ""),
    "the same folder for the pool that is declared": ("connections: {landing: {files: ../first/}}", "first"),
    "nothing beside a pipeline of a declared pool": ("", "first"),
}
DIFFERING = {
    "each its own folder": (HERE, "", "landing", "says files: . (/"),
    "each its own folder, with the pool declared": (HERE, "first", "landing", "says files: . (/"),
    "nothing in the second": ("", "", "landing", "says nothing of it"),
    "another server in the second only": (
        "connections: {landing: {files: ../first}, ware_house: {postgres: {dsn: 'postgresql://u:s3cret@x/y'}}}",
        "",
        "ware_house",
        "says postgres",
    ),
}


@pytest.mark.parametrize(("second", "pool_in"), AGREEING.values(), ids=AGREEING.keys())
def test_folders_that_agree_share_a_pool(tmp_path: Path, second: str, pool_in: str) -> None:
    layout = in_folders(tmp_path, HERE, second, pool_in)

    (pool,) = layout.pools
    assert [each.files.url for each in pool.connections if each.files] == [(tmp_path / "first").as_uri()]
    assert len(layout.pipelines) == 2


@pytest.mark.parametrize(("second", "pool_in", "connection", "says"), DIFFERING.values(), ids=DIFFERING.keys())
def test_no_pipeline_runs_by_another_folders_settings(
    tmp_path: Path, second: str, pool_in: str, connection: str, says: str
) -> None:
    with pytest.raises(LayoutError) as raised:
        in_folders(tmp_path, HERE, second, pool_in)

    (problem,) = raised.value.problems
    assert problem.startswith(f"connection {connection} of pool etl: {tmp_path / 'first' / FILE_NAME} says")
    assert f"and {tmp_path / 'second' / FILE_NAME} {says}" in problem
    assert "s3cret" not in problem


def test_a_workers_files_hold_secrets_apart_and_for_their_owner_only(tmp_path: Path) -> None:
    (pool,) = laid(tmp_path, POOL, PIPELINE, settings=with_data(tmp_path)).pools

    files = StateFolder(tmp_path / "state", kept=True).worker(
        pool, "127.0.0.1:7233", {"ware_house": "postgresql://x:s3@y/z"}
    )

    config = WorkerConfig.model_validate_json(files.config.read_text(encoding="utf-8"))
    reference = config.connections[1].postgres
    assert reference is not None
    secret = files.secrets / reference.dsn.secret_key_ref.name / reference.dsn.secret_key_ref.key
    assert secret.read_text(encoding="utf-8") == "postgresql://x:s3@y/z"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert "s3" not in files.config.read_text(encoding="utf-8")
    assert (config.task_queue, config.temporal.address) == ("dev/travel/etl", "127.0.0.1:7233")


def test_two_sessions_on_one_folder_refuse_clearly(tmp_path: Path) -> None:
    with (
        state_folder(tmp_path / "state"),
        pytest.raises(FolderInUseError, match="in use by another `tidemill dev`"),
        state_folder(tmp_path / "state"),
    ):
        pass
    with state_folder(tmp_path / "state") as again:
        assert again.kept


def test_a_folder_of_no_name_goes_away() -> None:
    with state_folder(None) as folder:
        (folder.path / "file").write_text("x", encoding="utf-8")
        assert not folder.kept

    assert not folder.path.exists()


STEP = {"name": "made", "inputs": ["raw"], "python": {"entrypoint": "travel.steps:score"}}


@pytest.mark.parametrize("declared", [False, True])
def test_functions_are_allowed_and_found_beside_their_manifest(declared: bool, tmp_path: Path) -> None:
    pipeline = {**PIPELINE, "spec": {**PIPELINE["spec"], "steps": [STEP]}}
    pool = {**POOL, "spec": {**POOL["spec"], "python": {"allowedEntrypoints": ["travel.*:*"]}}}
    layout = laid(tmp_path, pipeline, *([pool] if declared else ()), settings=with_data(tmp_path))
    (made,) = layout.pools
    assert modules(layout, made) == (str(tmp_path),)
    with state_folder(tmp_path / "state") as state:
        files = state.worker(made, "127.0.0.1:7233", {})
    config = WorkerConfig.model_validate_json(files.config.read_bytes())
    assert config.python is not None
    assert config.python.allowed_entrypoints == (("travel.*:*",) if declared else ("travel.steps:score",))
    assert describe("", files, modules(layout, made)).command[-2:] == ("--modules", str(tmp_path))


def test_a_folder_without_functions_is_none_to_look_in(tmp_path: Path) -> None:
    layout = laid(tmp_path, PIPELINE, settings=with_data(tmp_path))
    assert modules(layout, layout.pools[0]) == ()
