"""What the API server refuses, our models refuse, for the same field, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tests.integration.manifests_refused import CLASSICS, LINT_ONLY, RULES, Refused
from tests.support.kubernetes import ApiServer
from tests.support.manifests import DELETE, MODELS, Manifest, changed, good, load, python_verdict
from tests.support.mutants import Mutant, mutants
from tests.support.rest import Rest
from tidemill_api.schema import Schema, root
from tidemill_api.v1alpha1 import KINDS, Model

TABLE = (*RULES, *CLASSICS)


def manifest_of(case: Refused) -> Manifest:
    """The wrong manifest, named like the case."""
    return changed(load(case.base)[0], {**case.changes, "metadata.name": case.name})


def spec_schema(manifest: Manifest) -> Schema:
    """The lowered schema of a manifest's spec."""
    schema: Schema = root(MODELS[manifest["kind"]])["properties"]["spec"]
    return schema


@pytest.fixture(scope="module")
def rest(crds: ApiServer) -> Iterator[Rest]:
    connection = Rest(crds)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def kubectl_said(crds: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one `kubectl apply` of the whole table said of each case."""
    folder = tmp_path_factory.mktemp("refused")
    for case in TABLE:
        _write(folder / f"{case.name}.yaml", manifest_of(case))
    done = crds.kubectl("apply", "-f", str(folder), "--validate=strict", check=False)
    said: dict[str, str] = {}
    for part in re.split(r"\n(?=The |Error )", done.stderr):
        name = re.search(r"/([a-z0-9-]+)\.yaml\"|^The \w+ \"([a-z0-9-]+)\"", part)
        if name:
            said[name[1] or name[2]] = part
    assert not done.stdout, "all are refused"
    return said


def _write(file: Path, manifest: Manifest) -> None:
    with file.open("w", encoding="utf-8") as out:
        YAML(typ="safe", pure=True).dump(manifest, out)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_kubectl_apply_refuses_with_the_fields_path(kubectl_said: dict[str, str], case: Refused) -> None:
    said = kubectl_said[case.name]
    assert case.says in said
    assert re.search(rf'(\* |: |"|\[){re.escape(case.field)}[:"]', said), said


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_lint_gives_the_same_verdict(case: Refused) -> None:
    verdict = python_verdict(manifest_of(case))
    [(field, sentence)] = verdict.items()
    assert field.split('["')[0].startswith(case.field)
    assert (case.lint_says or case.says) in f"{field}: {sentence}"


@pytest.mark.parametrize("case", LINT_ONLY, ids=lambda case: case.name)
def test_what_cel_cannot_say_lint_does(rest: Rest, case: Refused) -> None:
    assert rest.try_out(manifest_of(case)).accepted
    [(field, sentence)] = python_verdict(manifest_of(case)).items()
    assert (field, case.lint_says in sentence) == (case.field, True)


def test_server_side_apply_refuses_them_too(crds: ApiServer, tmp_path: Path) -> None:
    for case in TABLE:
        _write(tmp_path / f"{case.name}.yaml", manifest_of(case))
    done = crds.kubectl("apply", "--server-side", "-f", str(tmp_path), "--validate=strict", check=False)
    assert done.stdout == ""
    assert done.returncode != 0


def _models(model: type[Model]) -> Iterator[type[Model]]:
    for sub in model.__subclasses__():
        if sub.__module__.startswith("tidemill_api."):
            yield sub
        yield from _models(sub)


def test_every_rule_of_the_models_is_in_the_table() -> None:
    rules = {(rule.message, rule.cel is None) for model in _models(Model) for rule in model.rules}
    tried = {message for message, _ in rules if any(case.says in message for case in RULES)}
    lint = {message for message, _ in rules if any(case.lint_says in message for case in LINT_ONLY)}
    changes = {message for message, _ in rules if "can't be changed" in message}
    assert {message for message, lint_only in rules if not lint_only} == tried | changes
    assert {message for message, lint_only in rules if lint_only} == lint


ALL_MUTANTS = [
    mutant
    for manifest in good().values()
    for mutant in mutants(changed(manifest, {"metadata.name": "mutant"}), spec_schema(manifest))
]


def test_each_constraint_of_the_schema_is_held_by_server_and_models_alike(rest: Rest) -> None:
    differ: list[str] = []
    for mutant in ALL_MUTANTS:
        server, ours = rest.try_out(mutant.manifest), python_verdict(mutant.manifest)
        if server.accepted or not server.names(mutant.field):
            differ.append(f"{mutant}: the server says {server.message or 'yes'}")
        if not any(_same_place(mutant, field) for field in ours):
            differ.append(f"{mutant}: we say {ours or 'yes'}")
    assert differ == []
    assert len(ALL_MUTANTS) > 1000


def _same_place(mutant: Mutant, field: str) -> bool:
    """Of a bad key the server names the map, and we the key."""
    return field == mutant.field or (mutant.constraint == "keys" and field.startswith(f"{mutant.field}["))


def _paths(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if "." not in name:
                yield f"{path}.{name}"
                yield from _paths(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield f"{path}[{index}]"
            yield from _paths(inner, f"{path}[{index}]")


_VALUES = st.one_of(
    st.sampled_from([DELETE, None, "", "0", "a", "1h", "UTC", "Append", "None", 0, 1, 8, 1.5, True, False, [], {}]),
    st.sampled_from([["raw"], [""], {"csv": {}}, {"name": "raw"}, "2026-02-30T00:00:00Z", "2026-01-01T00:00:00.5Z"]),
    st.text(max_size=12),
    st.integers(-(2**65), 2**65),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_good_manifest_gets_one_verdict(rest: Rest, data: st.DataObject) -> None:
    manifest = data.draw(st.sampled_from(sorted(good().items())))[1]
    paths = sorted(set(_paths(manifest["spec"], "spec")), reverse=True)
    where = data.draw(st.sampled_from(paths))
    wrong = changed(manifest, {where: data.draw(_VALUES)})
    server, ours = rest.try_out(wrong), python_verdict(wrong)
    assert server.accepted == (not ours), f"{where}: server {server.message or 'accepts'}, models {ours or 'accept'}"


@pytest.mark.parametrize("name", good())
def test_null_at_any_place_gets_one_verdict(rest: Rest, name: str) -> None:
    manifest = changed(good()[name], {"metadata.name": "nulls"})
    differ: list[str] = []
    for path in sorted(set(_paths(manifest["spec"], "spec"))):
        wrong = changed(manifest, {path: None})
        server, ours = rest.try_out(wrong), python_verdict(wrong)
        if server.accepted == bool(ours):
            differ.append(f"{path}: server {server.message or 'accepts'}, models {ours or 'accept'}")
    assert differ == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.schedule.startAt", "2026-02-30T00:00:00Z"),
        ("spec.schedule.startAt", "2026-02-03T24:00:00Z"),
        ("spec.schedule.startAt", "2026-02-03T23:59:60Z"),
        ("spec.schedule.startAt", "2026-02-03T23:59:00+24:00"),
        ("spec.schedule.startAt", "0000-02-03T23:59:00Z"),
        ("spec.schedule.timeZone", "UTC\n"),
        ("spec.execution.errorTolerance.maxRows", 2**63),
        ("spec.execution.errorTolerance.maxRows", 2**70),
        ("spec.parameters[1].default", 2**63),
        ("spec.schedule.calendars[0].comment", "\N{GRINNING FACE}" * 257),
    ],
)
def test_odd_values_are_refused_by_both(rest: Rest, path: str, value: object) -> None:
    wrong = changed(load("pipeline")[0], {path: value, "spec.schedule.endAt": DELETE})
    server = rest.try_out(wrong)
    assert not server.accepted
    assert server.names(path)
    assert list(python_verdict(wrong)) == [path]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.execution.parallelism", 5.0),
        ("spec.execution.errorTolerance.maxPercent", 5),
        ("spec.schedule.startAt", "2026-01-01T00:00:00.123456789+02:00"),
        ("spec.schedule.calendars[0].comment", "\N{GRINNING FACE}" * 256),
        ("spec.schedule.crons", ["0 0 * * *", "0 0 * * *"]),
    ],
)
def test_odd_values_are_taken_by_both(rest: Rest, path: str, value: object) -> None:
    odd = changed(load("pipeline")[0], {path: value})
    server = rest.try_out(odd)
    assert server.accepted, server.message
    assert python_verdict(odd) == {}


def test_each_kind_has_a_good_manifest() -> None:
    assert {manifest["kind"] for manifest in good().values()} == {kind.kind_name() for kind in KINDS}
