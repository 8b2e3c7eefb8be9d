"""The operator around the kinds: store, notice, sweep, status patches, Events, leader, health, settings."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_api.contract import ScheduleMemo
from tidemill_api.errors import ConfigError
from tidemill_api.names import LABEL_POOL
from tidemill_operator.apply import difference
from tidemill_operator.clients import Key, Object, PipelineInTemporal
from tidemill_operator.events import manifest, transitions
from tidemill_operator.health import Beats, HealthServer
from tidemill_operator.leader import Record, next_step
from tidemill_operator.metrics import Metrics
from tidemill_operator.notice import SOON, concerned
from tidemill_operator.settings import parse_settings
from tidemill_operator.store import MemoryStore
from tidemill_operator.sweep import differing, fold, outdated
from tidemill_operator.views import RunSeen, ScheduleEntry, ScheduleSeen

MEMO = ScheduleMemo(installation="i", namespace="travel", name="flights", uid="u1")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def thing(name: str, version: int, spec: Object | None = None, **metadata: Any) -> Object:
    known = {
        "namespace": "travel",
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "resourceVersion": str(version),
    }
    return {"metadata": {**known, **metadata}, "spec": spec or {}}


def pipeline(name: str, version: int = 1, pool: str = "etl", **metadata: Any) -> Object:
    return thing(name, version, {"workerPoolRef": {"name": pool}}, **metadata)


# Store


@pytest.mark.parametrize(
    ("versions", "news", "kept"),
    [([5], [True], "5"), ([5, 5], [True, False], "5"), ([5, 4], [True, False], "5"), ([9, 10], [True, True], "10")],
    ids=["first", "echo", "late", "newer, though smaller as text"],
)
def test_the_newer_version_stays(versions: list[int], news: list[bool], kept: str) -> None:
    store = MemoryStore()
    assert [store.put("DataPipeline", pipeline("a", version)) for version in versions] == news
    found = store.get("DataPipeline", "travel", "a")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == kept


def test_a_late_answer_brings_nothing_back() -> None:
    store = MemoryStore()
    store.put("DataPipeline", pipeline("a", 1))
    assert store.remove("DataPipeline", "travel", "a", "another") is None
    assert store.remove("DataPipeline", "travel", "a", "uid-a") is not None
    assert not store.put("DataPipeline", pipeline("a", 2))
    assert store.put("DataPipeline", pipeline("a", 3, uid="its successor"))


def test_who_refers_to_what() -> None:
    store = MemoryStore()
    store.put("DataPipeline", pipeline("b"))
    store.put("DataPipeline", pipeline("a"))
    store.put("DataPipeline", pipeline("c", pool="other"))
    store.put("DataPipelineRun", thing("again", 1, {"pipelineRef": {"name": "a"}}))
    store.put("WorkerPool", thing("etl", 1, {"temporal": {"connectionRef": {"name": "cloud"}}}))
    store.put("WorkerPool", thing("odd", 1, {"temporal": "not even a mapping"}))
    assert store.pipelines_of_pool("travel", "etl") == ("a", "b")
    assert store.pipelines_of_pool("sales", "etl") == ()
    assert store.runs_of_pipeline("travel", "a") == ("again",)
    assert store.pools_of_connection("travel", "cloud") == ("etl",)
    store.put("DataPipeline", pipeline("a", 2, pool="other"))
    store.remove("DataPipeline", "travel", "b")
    assert store.pipelines_of_pool("travel", "etl") == ()
    assert store.pipelines_of_pool("travel", "other") == ("a", "c")


# Notice


def _keys(kind: str, old: Object | None, new: Object | None, store: MemoryStore) -> dict[str, float]:
    return {f"{key.kind}/{key.name}": delay for key, delay in concerned(kind, old, new, store)}


def test_whom_a_change_concerns() -> None:
    store = MemoryStore()
    store.put("DataPipeline", pipeline("a"))
    store.put("DataPipelineRun", thing("again", 1, {"pipelineRef": {"name": "a"}}))
    store.put("WorkerPool", thing("etl", 1, {"temporal": {"connectionRef": {"name": "cloud"}}}))
    connection = thing("cloud", 1)
    pool = thing("etl", 1, {"temporal": {"connectionRef": {"name": "cloud"}}})
    ready = {**pool, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert _keys("TemporalConnection", None, connection, store) == {
        "TemporalConnection/cloud": 0,
        "WorkerPool/etl": SOON,
        "DataPipeline/a": SOON,
        "DataPipelineRun/again": SOON,
    }
    assert _keys("WorkerPool", pool, ready, store) == {
        "WorkerPool/etl": 0,
        "DataPipeline/a": SOON,
        "DataPipelineRun/again": SOON,
    }
    assert _keys("WorkerPool", ready, {**ready, "status": {**ready["status"], "replicas": 2}}, store) == {
        "WorkerPool/etl": 0
    }
    assert _keys("DataPipeline", None, pipeline("a"), store) == {
        "DataPipeline/a": 0,
        "DataPipelineRun/again": SOON,
        "WorkerPool/etl": SOON,
    }
    assert _keys("DataPipeline", pipeline("a"), pipeline("a", 2, "other", generation=2), store) == {
        "DataPipeline/a": 0,
        "DataPipelineRun/again": SOON,
        "WorkerPool/etl": SOON,
        "WorkerPool/other": SOON,
    }
    deployment = thing("etl-worker", 1, labels={LABEL_POOL: "etl"})
    assert _keys("Deployment", deployment, None, store) == {"WorkerPool/etl": 0}
    assert _keys("Deployment", None, thing("a stranger's", 1), store) == {}


# Sweep


def entry(name: str = "i/travel/flights", fingerprint: str = "f", hours: int = 1) -> ScheduleEntry:
    return ScheduleEntry(name, MEMO, False, "", (NOON + timedelta(hours=hours),), fingerprint)


def description(fingerprint: str = "f", hours: int = 1) -> ScheduleSeen:
    return ScheduleSeen(
        "i/travel/flights", MEMO, "made", False, "", b"t", (NOON + timedelta(hours=hours),), 0, fingerprint
    )


def run(hour: int, *, closed: bool, of: str = "i/travel/flights", run_id: str = "") -> RunSeen:
    started = NOON + timedelta(hours=hour)
    return RunSeen(
        f"{of}/scheduled-{hour}",
        run_id or f"run-{hour}",
        "Succeeded" if closed else "Running",
        started,
        started + timedelta(minutes=5) if closed else None,
        None,
    )


def test_a_look_at_temporal_is_folded_into_what_is_known() -> None:
    first = fold({}, [entry()], [run(3, closed=False), run(2, closed=False), run(1, closed=True), run(0, closed=True)])
    seen = first["i/travel/flights"]
    assert [each.run_id for each in seen.open_runs] == ["run-2", "run-3"]
    assert seen.last_closed == run(1, closed=True)
    second = fold(first, [entry()], [run(3, closed=False)])
    assert second["i/travel/flights"] == PipelineInTemporal(entry(), (run(3, closed=False),), run(1, closed=True))
    third = fold(second, [], [run(3, closed=True), run(0, closed=True, of="not ours")])
    assert third == {"i/travel/flights": PipelineInTemporal(None, (), run(3, closed=True))}


@pytest.mark.parametrize(
    ("before", "now", "described", "differs", "is_outdated"),
    [
        (None, entry(), description(), False, False),
        (None, entry(), None, True, False),
        (None, entry(fingerprint="edited"), description(), True, True),
        (entry(), entry(), description(), False, False),
        (entry(), entry(hours=2), description(), True, False),
        (entry(), entry(fingerprint="edited"), description(), True, True),
        (entry(fingerprint="old"), entry(fingerprint="old"), description(), False, False),
        (entry(), None, description(), True, True),
        (None, None, description(), False, False),
    ],
    ids=[
        "as we made it",
        "never described",
        "edited before it was first listed",
        "nothing new",
        "time went on",
        "edited",
        "the listing lags behind our own write",
        "gone",
        "made, not yet listed",
    ],
)
def test_what_is_news_of_a_schedule(
    before: ScheduleEntry | None,
    now: ScheduleEntry | None,
    described: ScheduleSeen | None,
    differs: bool,
    is_outdated: bool,
) -> None:
    known, seen = fold({}, [before] if before else [], []), fold({}, [now] if now else [], [])
    descriptions = {described.id: described} if described else {}
    assert bool(differing(known, seen, descriptions)) is differs
    assert bool(outdated(known, seen, descriptions)) is is_outdated


# Status patches


def _merged(target: object, patch: object) -> object:
    """RFC 7396, as its text says."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


_leaves = st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2)
_json = st.recursive(
    _leaves.filter(lambda leaf: leaf is not None),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(
    old=st.dictionaries(st.sampled_from("abcd"), _json, max_size=4),
    new=st.dictionaries(st.sampled_from("abcd"), _json, max_size=4),
)
def test_a_status_patch_makes_exactly_the_new_status(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = difference(old, new)
    assert _merged(old, patch) == new
    assert (patch == {}) == (old == new)


# Events


def _status(ready: str, reason: str, **more: Any) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": "m"}], **more}


STALLED = {"type": "Stalled", "status": "True", "reason": "InvalidSQL", "message": "m"}
LAST = {"key": "k", "result": "Failed", "workflowRunId": "1", "error": "BadRow: no"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, _status("True", "Scheduled"), []),
        ({}, _status("False", "WaitingForPool"), [("Normal", "WaitingForPool")]),
        (_status("False", "WaitingForPool"), _status("True", "Scheduled"), [("Normal", "Scheduled")]),
        (_status("True", "Scheduled"), _status("True", "Scheduled"), []),
        (_status("True", "Scheduled"), _status("False", "WaitingForPool"), [("Normal", "WaitingForPool")]),
        (
            _status("True", "Scheduled"),
            {"conditions": [*_status("False", "InvalidSQL")["conditions"], STALLED]},
            [("Warning", "InvalidSQL")],
        ),
        ({}, _status("True", "Scheduled", lastRun=LAST), []),
        (_status("True", "S"), _status("True", "S", lastRun=LAST), [("Warning", "RunFailed")]),
        (_status("True", "S", lastRun=LAST), _status("True", "S", lastRun={**LAST, "rowsRead": 1}), []),
        (
            _status("True", "S"),
            _status("True", "S", activeRuns=[{"key": "k", "workflowRunId": "1"}]),
            [("Normal", "RunStarted")],
        ),
        (
            _status("True", "S", schedule={"id": "i"}),
            _status("True", "S", schedule={"id": "i", "driftRepaired": 1}),
            [("Normal", "DriftRepaired")],
        ),
        ({}, _status("False", "WaitingForPipeline", phase="Pending"), []),
        ({"phase": "Pending"}, _status("False", "Running", phase="Running"), [("Normal", "RunStarted")]),
        (
            {"phase": "Running"},
            _status("True", "Succeeded", phase="Succeeded", run={"key": "k", "result": "Succeeded"}),
            [("Normal", "RunSucceeded")],
        ),
        (
            {"phase": "Running"},
            _status(
                "True", "Succeeded", phase="Succeeded", run={"result": "Succeeded", "failedChecks": ["c (Warn): x"]}
            ),
            [("Normal", "RunSucceeded"), ("Warning", "ChecksFailed")],
        ),
        (
            {"phase": "Running"},
            _status("True", "Succeeded", phase="Succeeded", run={"result": "Succeeded", "schemaChanges": ["x is new"]}),
            [("Normal", "RunSucceeded"), ("Normal", "SchemaChanged")],
        ),
        (
            {"phase": "Running"},
            _status("True", "Succeeded", phase="Succeeded", run={"result": "Succeeded", "nulledValues": ["2 of n"]}),
            [("Normal", "RunSucceeded"), ("Warning", "ValuesNulled")],
        ),
    ],
)
def test_only_transitions_make_events(
    old: dict[str, Any], new: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert [(note.type, note.reason) for note in transitions(old, new)] == expected


def test_an_event_is_bounded() -> None:
    note = transitions(
        {}, {"conditions": [{"type": "Ready", "status": "False", "reason": "R", "message": "é" * 3000}]}
    )[0]
    regarding = {**pipeline("p" * 253), "apiVersion": "tidemill.dev/v1alpha1", "kind": "DataPipeline"}
    event = manifest(regarding, note, "i" * 300, NOON)
    assert len(event["note"].encode()) <= 1024
    assert len(event["metadata"]["name"]) <= 253
    assert len(event["reportingInstance"]) <= 128


# Leader


@pytest.mark.parametrize(
    ("record", "now", "expected"),
    [
        (None, 0, "Create"),
        (Record("me", "1", 15, since=0), 1000, "Renew"),
        (Record("other", "1", 15, since=0), 15, "Wait"),
        (Record("other", "1", 15, since=0), 15.1, "Take"),
        (Record("", "1", 1, since=0), 0, "Take"),
    ],
)
def test_what_to_do_about_a_lease(record: Record | None, now: float, expected: str) -> None:
    assert next_step(record, "me", now) == expected


def test_silence_is_counted_by_our_own_clock() -> None:
    lease = {"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15}}
    first = Record.read(lease, None, now=100)
    assert Record.read(lease, first, now=110).since == 100
    renewed = {**lease, "metadata": {"resourceVersion": "8"}}
    assert Record.read(renewed, first, now=110).since == 110


# Health


def _answer(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_tells_what_is_stuck() -> None:
    clock = [0.0]
    beats = Beats(lambda: clock[0])
    waiting = ["the first list"]
    metrics = Metrics()
    metrics.count_api("GET", "DataPipeline", 200)
    server = HealthServer(("127.0.0.1", 0), beats, lambda: waiting[0], metrics.exposition)
    try:
        beats.beat("loop", 20)
        beats.beat("sweep", 5)
        assert _answer(server.port, "/healthz") == (200, "ok\n")
        assert _answer(server.port, "/readyz") == (503, "the first list\n")
        waiting[0] = ""
        assert _answer(server.port, "/readyz") == (200, "ok\n")
        clock[0] = 10
        status, text = _answer(server.port, "/healthz")
        assert (status, text.startswith("sweep: not heard of for 10 s")) == (503, True)
        beats.forget("sweep")
        assert _answer(server.port, "/healthz?verbose")[0] == 200
        assert (
            'tidemill_operator_kubernetes_requests_total{code="200",kind="DataPipeline",verb="GET"} 1.0'
            in (_answer(server.port, "/metrics")[1])
        )
        assert _answer(server.port, "/")[0] == 404
        with pytest.raises(ConfigError, match=f"--health-address 127.0.0.1:{server.port}: Address already in use"):
            HealthServer(("127.0.0.1", server.port), beats, lambda: "", metrics.exposition)
    finally:
        server.close()


# Settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"--installation \(or TIDEMILL_INSTALLATION\) is missing"),
        (["--installation", "a/b"], "--installation .*must be 1 to 63 letters"),
        (["--installation", "i", "--namespaces", "a,B"], "--namespaces .*'B' is not the name of a namespace"),
        (["--installation", "i", "--sweep-interval", "fast"], "--sweep-interval .*at least 0.2"),
        (["--installation", "i", "--health-address", "8080"], "--health-address .*must be HOST:PORT"),
        (["--installation", "i", "--temporal-address", ":7233"], "--temporal-address .*Temporal frontend"),
        (["--installation", "i", "--temporal-tls", "yes"], "--temporal-tls .*true or false"),
        (["--installation", "i", "--temporal-ca-file", "/nowhere"], "--temporal-ca-file .*no file /nowhere"),
        (["--installation", "i", "--concurrency", "0"], "--concurrency .*from 1 to 200"),
        (["--installation", "i", "--log-format", "xml"], "--log-format .*text, json"),
        (["--installation", "i", "--context", "c"], "--context needs --kubeconfig"),
    ],
)
def test_a_wrong_setting_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_settings(arguments, {})


def test_settings_from_arguments_environment_and_defaults(tmp_path: Path) -> None:
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_text("")
    settings = parse_settings(
        ["--installation", "Blue.1", "--namespaces", "a, b", "--temporal-cert-file", str(tmp_path / "tls.crt")],
        {
            "TIDEMILL_INSTALLATION": "green",
            "TIDEMILL_TEMPORAL_ADDRESS": "temporal:7233",
            "TIDEMILL_TEMPORAL_KEY_FILE": str(tmp_path / "tls.key"),
            "POD_NAMESPACE": "tidemill",
            "POD_NAME": "operator-1",
        },
    )
    assert settings.decisions.installation == "Blue.1"
    assert settings.namespaces == ("a", "b")
    assert settings.decisions.temporal is not None
    assert settings.decisions.temporal.tls
    assert settings.lease_namespace == "tidemill"
    assert settings.lease_name.startswith("tidemill-blue-1-")
    assert settings.identity.startswith("operator-1_")
    assert parse_settings(["--installation", "i"], {}).decisions.temporal is None
    with pytest.raises(ConfigError, match="belong together"):
        parse_settings(["--installation", "i", "--temporal-cert-file", str(tmp_path / "tls.crt")], {})


def test_keys_sort_and_read_well() -> None:
    assert str(Key("DataPipeline", "travel", "flights")) == "DataPipeline travel/flights"
