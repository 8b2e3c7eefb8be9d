"""Our kinds on a real API server: accepted, established, and holding what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.kubernetes import ROOT, ApiServer
from tests.support.manifests import MODELS, Manifest, changed, good, load
from tests.support.rest import Rest
from tidemill_api.schema import root
from tidemill_api.v1alpha1 import KINDS, Resource

GOOD = good()


@pytest.fixture(scope="module")
def rest(crds: ApiServer) -> Iterator[Rest]:
    connection = Rest(crds)
    yield connection
    connection.close()


def _json(server: ApiServer, *arguments: str) -> Any:
    return json.loads(server.kubectl(*arguments, "-o", "json").stdout)


def _apply(server: ApiServer, namespace: str, *manifests: Manifest, options: tuple[str, ...] = ()) -> str:
    documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
    return server.kubectl("apply", "-n", namespace, *options, "-f", "-", stdin=documents).stdout


def _everything(model: Any) -> Any:
    """A model's value with its defaults, as JSON without nulls, empty lists and empty maps."""
    return _filled(model.model_dump(mode="json", by_alias=True, exclude_none=True))


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {name: _filled(item) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item not in ({}, [])}
    return [_filled(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind_name())
def test_each_kind_is_established(crds: ApiServer, kind: type[Resource]) -> None:
    found = _json(crds, "get", "crd", f"{kind.served.plural}.tidemill.dev")
    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"
    served = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert served == root(kind), "the server keeps the schema as it is written"


def test_applying_the_crds_again_changes_nothing(crds: ApiServer) -> None:
    done = crds.kubectl("diff", "--server-side", "-f", str(ROOT / "crds"), check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", GOOD)
def test_a_good_manifest_comes_back_as_written_but_for_defaults(rest: Rest, name: str) -> None:
    written = GOOD[name]["spec"]
    verdict = rest.try_out(GOOD[name])
    assert verdict.accepted, verdict.message
    assert _without_defaults(verdict.object["spec"], written) == written


def _without_defaults(kept: Any, written: Any) -> Any:
    """What of `kept` was written; lists must have the same items, because no default is inside one."""
    if isinstance(kept, dict) and isinstance(written, dict):
        return {name: _without_defaults(value, written[name]) for name, value in kept.items() if name in written}
    return kept


@pytest.mark.parametrize("name", GOOD)
def test_server_and_models_agree_on_defaults(rest: Rest, name: str) -> None:
    model = MODELS[GOOD[name]["kind"]]
    ours = model.model_validate(GOOD[name])
    theirs = model.model_validate(rest.try_out(GOOD[name]).object)
    assert _everything(theirs)["spec"] == _everything(ours)["spec"]


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith("minimal")])
def test_the_server_shows_every_default_outside_lists(rest: Rest, name: str) -> None:
    model = MODELS[GOOD[name]["kind"]]
    ours = _everything(model.model_validate(GOOD[name]))["spec"]
    theirs = _filled(rest.try_out(GOOD[name]).object["spec"])
    assert set(theirs) == set(ours)
    for field, value in theirs.items():
        assert isinstance(value, list) or value == ours[field], field


def test_null_means_absent(rest: Rest) -> None:
    written = changed(GOOD["minimal/DataPipeline/minimal"], {"spec.suspend": None, "spec.steps": None})
    kept = rest.try_out(written)
    assert kept.accepted, kept.message
    assert kept.object["spec"]["suspend"] is False
    ours = MODELS["DataPipeline"].model_validate(written)
    assert _everything(ours)["spec"] == _everything(MODELS["DataPipeline"].model_validate(kept.object))["spec"]


def test_applying_again_changes_nothing(crds: ApiServer, namespace: str) -> None:
    for options in ((), ("--server-side", "--force-conflicts")):
        _apply(crds, namespace, *GOOD.values(), options=options)
        versions = [
            one["metadata"]["resourceVersion"] for one in _json(crds, "get", "tidemill", "-n", namespace)["items"]
        ]
        _apply(crds, namespace, *GOOD.values(), options=options)
        again = [one["metadata"]["resourceVersion"] for one in _json(crds, "get", "tidemill", "-n", namespace)["items"]]
        assert again == versions
    assert len(versions) == len(GOOD)


@pytest.mark.parametrize("options", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_lists_keep_the_order_of_the_last_apply(crds: ApiServer, namespace: str, options: tuple[str, ...]) -> None:
    [pipeline] = load("pipeline")
    _apply(crds, namespace, pipeline, options=options)
    turned = changed(pipeline, {"spec.sources[0].columns": pipeline["spec"]["sources"][0]["columns"][::-1]})
    turned = changed(
        turned, {"spec.steps[1].inputs": ["airlines", "valid"], "spec.sinks": pipeline["spec"]["sinks"][::-1]}
    )
    _apply(crds, namespace, turned, options=options)
    kept = _json(crds, "get", "dpl", "flights", "-n", namespace)["spec"]
    assert kept["sources"][0]["columns"] == turned["spec"]["sources"][0]["columns"]
    assert kept["steps"][1]["inputs"] == ["airlines", "valid"]
    assert [sink["name"] for sink in kept["sinks"]] == [sink["name"] for sink in turned["spec"]["sinks"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"spec.pipelineRef.name": "other"},
        {"spec.parameters.carrier": "DL"},
        {"spec.parameters.year": "2013"},
        {"spec.parameters.more": 1},
        {"spec.parameters": None},
    ],
    ids=str,
)
def test_a_runs_spec_cannot_be_changed(crds: ApiServer, namespace: str, changes: dict[str, object]) -> None:
    [run] = load("run")
    _apply(crds, namespace, run)
    done = crds.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(changed(run, changes)), check=False)
    assert done.returncode == 1
    assert "spec: Invalid value" in done.stderr
    assert "a run's spec can't be changed: make another DataPipelineRun" in done.stderr
    labelled = changed(run, {"metadata.labels": {"who": "me"}})
    assert "configured" in _apply(crds, namespace, labelled), "all but the spec may be changed"


def test_scale_writes_the_pools_replicas(crds: ApiServer, namespace: str) -> None:
    [pool] = load("pool")
    _apply(crds, namespace, pool)
    crds.kubectl("scale", "wpool/etl", "-n", namespace, "--replicas=7")
    _status(crds, namespace, "wpool/etl", {"replicas": 3, "selector": "tidemill.dev/pool=etl"})
    scale = json.loads(
        crds.kubectl("get", "--raw", f"/apis/tidemill.dev/v1alpha1/namespaces/{namespace}/workerpools/etl/scale").stdout
    )
    assert scale["spec"] == {"replicas": 7}
    assert scale["status"] == {"replicas": 3, "selector": "tidemill.dev/pool=etl"}


def _status(server: ApiServer, namespace: str, name: str, status: dict[str, Any], check: bool = True) -> str:
    patch = json.dumps({"status": status})
    options = ("--subresource=status", "--type=merge", "-p", patch)
    return server.kubectl("patch", name, "-n", namespace, *options, check=check).stderr


def test_the_status_is_a_subresource_with_conditions_by_type(crds: ApiServer, namespace: str) -> None:
    [pipeline] = load("pipeline")
    _apply(crds, namespace, {**pipeline, "status": {"missedRuns": 4}})
    seen = _json(crds, "get", "dpl", "flights", "-n", namespace)
    assert seen["status"] == {"observedGeneration": -1}, "what no operator has seen says so"
    ready = {
        "type": "Ready", "status": "True", "reason": "Scheduled",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    _status(
        crds, namespace, "dpl/flights", {"observedGeneration": 1, "conditions": [ready], "schedule": {"id": "a/b/c"}}
    )
    kept = _json(crds, "get", "dpl", "flights", "-n", namespace)
    assert kept["status"] == {"observedGeneration": 1, "conditions": [ready], "schedule": {"id": "a/b/c"}}
    assert kept["metadata"]["generation"] == 1
    crds.kubectl("wait", "dpl/flights", "-n", namespace, "--for=condition=Ready", "--timeout=5s")
    said = _status(crds, namespace, "dpl/flights", {"conditions": [ready, ready]}, check=False)
    assert "status.conditions[1]: Duplicate value" in said


def test_kubectl_get_shows_what_people_look_for(crds: ApiServer, namespace: str) -> None:
    _apply(crds, namespace, *load("pipeline"), *load("pool"), *load("run"), *load("connection"))
    shown = crds.kubectl("get", "tidemill", "-n", namespace).stdout
    for kind in KINDS:
        assert f"{kind.kind_name().lower()}.tidemill.dev/" in shown, "the category lists every kind"
        short = crds.kubectl("get", kind.served.short_name, "-n", namespace, "-o", "wide").stdout.splitlines()
        heads = [column.name.upper() for column in kind.served.columns]
        assert short[0].split() == ["NAME", *" ".join(heads).split()]
    only = crds.kubectl(
        "get", "dplrun", "-n", namespace, "--field-selector", "spec.pipelineRef.name=other", "-o", "name"
    )
    assert only.stdout == ""
