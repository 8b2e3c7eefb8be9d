"""What is told of a run, to whom and in what words: decided without sending anything."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio.service import RPCStatusCode

from tidemill_api.contract import CheckResult, RunError, RunInput, RunResult
from tidemill_api.errors import ConfigError
from tidemill_api.v1alpha1.notification import EVENTS, TEMPLATE_NAMES, HTTPNotification, Notification
from tidemill_worker.activities.notify import in_vain
from tidemill_worker.activities.posting import ANSWER_WITHIN
from tidemill_worker.telling.answers import LONGEST_WAIT, Later, Refused, Taken, Verdict, judged
from tidemill_worker.telling.bodies import LONGEST_TEXT, body, joined, message_id, sentence
from tidemill_worker.telling.events import drafts, happened, in_a_row, pause_note
from tidemill_worker.telling.signing import signed
from tidemill_worker.workflows.report import MOST_ATTEMPTS, WITHIN
from tidemill_worker.workflows.report_messages import Draft, Reported
from tidemill_worker.workflows.reporting import reported_of

CHECK = CheckResult(check="volume", sink="out", metric="rowCount", severity="Warn", passed=False, value=3)
KEY = "2026-01-01T04:15:00Z"


def ended(result: Any = "Succeeded", error: str = "", **changes: Any) -> RunResult:
    why = RunError(type=error, message="as it is said", step="valid") if error else None
    counts = {"rows_read": 10, "rows_loaded": 9, "rows_rejected": 1}
    return RunResult.model_validate(
        {"pipeline": "flights", "run_key": KEY, "execution": 1, "result": result, "error": why, **counts, **changes}
    )


def reported(result: RunResult, **changes: Any) -> Reported:
    told = {"installation": "i", "namespace": "travel", "pipeline": "flights", "uid": "u", "run_time": KEY}
    return Reported.model_validate({**told, "trigger": "Schedule", "result": result, **changes})


@pytest.mark.parametrize(
    ("result", "recovered", "paused", "events"),
    [
        (ended(), False, False, ["RunSucceeded"]),
        (ended(), True, False, ["Recovered", "RunSucceeded"]),
        (ended(failed_checks=(CHECK,)), False, False, ["CheckFailed", "RunSucceeded"]),
        (ended("Failed", "SourceMissing"), True, False, ["RunFailed"]),
        (ended("Failed", "SourceMissing"), False, True, ["SchedulePaused", "RunFailed"]),
        (ended("Failed", "ToleranceExceeded"), False, False, ["ToleranceExceeded", "RunFailed"]),
        (ended("Failed", "CheckFailed"), False, False, ["CheckFailed", "RunFailed"]),
        (
            ended("Failed", "CheckFailed", failed_checks=(CHECK,)),
            False,
            True,
            ["SchedulePaused", "CheckFailed", "RunFailed"],
        ),
        (ended("Cancelled"), True, False, []),
        (ended("Skipped", "Overlap"), True, False, []),
    ],
)
def test_what_has_happened(result: RunResult, recovered: bool, paused: bool, events: list[str]) -> None:
    assert list(happened(result, recovered=recovered, paused=paused)) == events


def test_one_message_for_each_notification_that_is_about_it() -> None:
    asked = [
        Notification.model_validate({"events": events, "http": {"connection": "chat"}})
        for events in (["RunFailed"], ["Recovered"], ["RunFailed", "ToleranceExceeded"])
    ]

    made = drafts(asked, ("ToleranceExceeded", "RunFailed"), "note")

    assert [(draft.number, draft.events, draft.note) for draft in made] == [
        (0, ("RunFailed",), "note"),
        (2, ("ToleranceExceeded", "RunFailed"), "note"),
    ]


def order(notifications: Any = None, **changes: Any) -> RunInput:
    spec = {} if notifications is None else {"notifications": notifications}
    told = {"installation": "i", "namespace": "travel", "pipeline": "flights", "uid": "u", "spec": spec}
    return RunInput.model_validate({**told, **changes})


def about(*events: str) -> list[dict[str, Any]]:
    return [{"events": list(events), "http": {"connection": "chat"}}]


@pytest.mark.parametrize(
    ("asked", "result", "is_told"),
    [
        (order(), ended(), False),
        (order(), ended("Failed", "SourceMissing"), False),
        (order(about("RunFailed")), ended("Failed", "SourceMissing"), True),
        (order(about("Recovered")), ended("Failed", "SourceMissing"), True),  # who is told is decided later
        (order(pause_after=2), ended("Failed", "SourceMissing"), True),
        (order(about("RunFailed"), backfill="january"), ended("Failed", "SourceMissing"), False),
        (order(about("RunFailed")), ended(), False),
        (order(about("CheckFailed")), ended(), False),
        (order(about("CheckFailed")), ended(failed_checks=(CHECK,)), True),
        (order(about("RunFailed", "Recovered")), ended(), True),
        (order(about("RunSucceeded")), ended(), True),
        (order(about(*EVENTS)), ended("Cancelled"), False),
        (order(about(*EVENTS)), ended("Skipped", "Overlap"), False),
        (order("nonsense"), ended("Failed", "SpecError"), False),
        (order([3]), ended("Failed", "SpecError"), False),
    ],
)
def test_what_leaves_something_to_be_told(asked: RunInput, result: RunResult, is_told: bool) -> None:
    found = reported_of(asked, KEY, result)
    assert (found is not None) == is_told
    if found is not None:
        assert (found.result, found.run_time, found.uid) == (result, KEY, "u")


@pytest.mark.parametrize(
    ("former", "failures"),
    [([], 0), (["Failed"], 1), (["Failed", "Failed"], 2), (["Failed", "Succeeded", "Failed"], 1), (["Succeeded"], 0)],
)
def test_failures_in_a_row(former: list[str], failures: int) -> None:
    assert in_a_row(former) == failures


def test_a_pause_of_ours_is_nobody_elses() -> None:
    note = pause_note(KEY, "SourceMissing", 3)
    assert not note.startswith("tidemill: ")
    assert "3 scheduled runs in a row have failed" in note
    assert (KEY in note, "SourceMissing" in note) == (True, True)


@pytest.mark.parametrize(
    ("status", "attempt", "expected"),
    [
        (RPCStatusCode.PERMISSION_DENIED, 1, True),
        (RPCStatusCode.UNAUTHENTICATED, 1, True),
        (RPCStatusCode.UNAVAILABLE, 1, False),
        (RPCStatusCode.DEADLINE_EXCEEDED, 11, False),
        (RPCStatusCode.UNAVAILABLE, 12, True),
    ],
)
def test_a_pause_that_can_t_be_made_keeps_nobody_from_being_told(
    status: RPCStatusCode, attempt: int, expected: bool
) -> None:
    assert in_vain(status, attempt) is expected


FAILED = Draft(number=0, events=("RunFailed",))


@pytest.mark.parametrize(
    ("result", "draft", "says"),
    [
        (
            ended("Failed", "SourceMissing"),
            FAILED,
            f"travel/flights: run {KEY} failed: SourceMissing (step valid): as it is said",
        ),
        (
            ended("Failed", "SourceMissing"),
            Draft(number=0, events=("SchedulePaused",), note="it is"),
            f"travel/flights: run {KEY} failed: SourceMissing (step valid): as it is said; the schedule is paused",
        ),
        (
            ended(),
            Draft(number=0, events=("Recovered",)),
            f"travel/flights: run {KEY} succeeded, after the one before had failed; 9 rows loaded, 1 rejected",
        ),
        (
            ended(failed_checks=(CHECK,)),
            Draft(number=0, events=("CheckFailed",)),
            f"travel/flights: run {KEY} succeeded; checks that don't hold: volume (Warn); 9 rows loaded, 1 rejected",
        ),
    ],
)
def test_the_sentence(result: RunResult, draft: Draft, says: str) -> None:
    assert sentence(reported(result), draft) == says


def test_json_says_all_there_is() -> None:
    run = reported(ended("Failed", "CheckFailed", failed_checks=(CHECK,), duration_seconds=1.5))
    draft = Draft(number=0, events=("CheckFailed", "RunFailed"))

    told = json.loads(body(HTTPNotification(connection="chat"), run, draft))

    assert told == {
        "id": message_id(run, draft),
        "event": "CheckFailed",
        "events": ["CheckFailed", "RunFailed"],
        "text": sentence(run, draft),
        "pipeline": {"namespace": "travel", "name": "flights", "uid": "u"},
        "run": {
            "key": KEY,
            "execution": 1,
            "time": KEY,
            "trigger": "Schedule",
            "result": "Failed",
            "rowsRead": 10,
            "rowsLoaded": 9,
            "rowsRejected": 1,
            "rowsSkipped": 0,
            "chunks": 0,
            "durationSeconds": 1.5,
            "failedChecks": [CHECK.model_dump(mode="json", by_alias=True)],
            "schemaChanges": [],
            "deadLetters": None,
            "error": {"type": "CheckFailed", "message": "as it is said", "step": "valid", "retryable": False},
        },
        "paused": None,
    }


def test_a_message_is_itself_only() -> None:
    first = reported(ended("Failed", "X"))
    ids = {
        message_id(first, FAILED),
        message_id(first, Draft(number=0, events=("RunFailed",), note="n")),  # the same as the first
        message_id(first, Draft(number=1, events=("RunFailed",))),
        message_id(first, Draft(number=0, events=("CheckFailed",))),
        message_id(reported(ended("Failed", "X", execution=2)), FAILED),
        message_id(reported(ended("Failed", "X", run_key="other")), FAILED),
        message_id(reported(ended("Failed", "X"), uid="v"), FAILED),
    }
    assert len(ids) == 6
    assert all("." not in each for each in ids)  # a signature is over id.time.body


def test_slack_calls_nobody() -> None:
    error = RunError(type="SourceMissing", message="<!channel> & <https://bad.example.com|good>")
    told = json.loads(
        body(
            HTTPNotification(connection="chat", format="Slack"),
            reported(ended("Failed", error=error.type).model_copy(update={"error": error})),
            FAILED,
        )
    )
    assert list(told) == ["text"]
    assert "&lt;!channel&gt; &amp; &lt;https://bad.example.com|good&gt;" in told["text"]


def test_a_template_gets_values_and_no_more() -> None:
    error = RunError(type="SourceMissing", message='"}, {event} {text}\n')
    run = reported(ended("Failed", error="X").model_copy(update={"error": error}))
    template = '{"a": "{error}", "b": ["{pipeline}/{run_key}", 1, null, {"{event}": "{rows_read} of {no}"}], "c": "{}"}'
    to = HTTPNotification.model_construct(connection="chat", template=template, format="JSON", path="")

    assert json.loads(body(to, run, FAILED)) == {
        "a": '"}, {event} {text}\n',
        "b": [f"flights/{KEY}", 1, None, {"{event}": "10 of {no}"}],
        "c": "{}",
    }


def test_every_name_of_a_template_has_a_value() -> None:
    names = sorted(TEMPLATE_NAMES)
    template = json.dumps([f"{{{name}}}" for name in names])
    to = HTTPNotification(connection="chat", template=template)

    filled = json.loads(body(to, reported(ended("Failed", "X")), FAILED))

    assert not [name for name, value in zip(names, filled, strict=True) if value == f"{{{name}}}"]


def test_a_sentence_has_an_end() -> None:
    error = RunError(type="X", message="a" * 10_000)
    told = sentence(reported(ended("Failed", "X").model_copy(update={"error": error})), FAILED)
    assert (len(told), told[-1]) == (LONGEST_TEXT, "…")


@pytest.mark.parametrize(
    ("parts", "path"),
    [(("", ""), ""), (("", "hooks/a/"), "hooks/a/"), (("T0/B0/x", ""), "T0/B0/x"), (("/T0/", "/a"), "T0/a")],
)
def test_paths_below_one_another(parts: tuple[str, str], path: str) -> None:
    assert joined(*parts) == path


def test_a_signature_is_that_of_the_specification() -> None:
    # The specification's own example.
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.9, b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_without_a_key_nothing_is_signed() -> None:
    assert set(signed("m", 1.0, b"", None)) == {"webhook-id", "webhook-timestamp"}


def test_a_key_that_is_none() -> None:
    with pytest.raises(ConfigError, match="isn't base64"):
        signed("m", 1.0, b"", "whsec_#")


@pytest.mark.parametrize(
    ("status", "wait", "verdict"),
    [
        (200, None, Taken),
        (204, 3.0, Taken),
        (301, None, Refused),
        (400, None, Refused),
        (401, None, Refused),
        (404, 5.0, Refused),
        (408, None, Later),
        (429, 7.0, Later),
        (500, None, Later),
        (503, 1e9, Later),
    ],
)
def test_answers(status: int, wait: float | None, verdict: type[Verdict]) -> None:
    found = judged(status, wait)
    assert isinstance(found, verdict)
    if isinstance(found, Later):
        assert found.seconds == (None if wait is None else min(wait, LONGEST_WAIT))
        assert str(status) in found.why


def test_the_last_attempt_comes_in_time_to_say_that_it_is_unsent() -> None:
    asked, answered = (MOST_ATTEMPTS - 1) * LONGEST_WAIT, MOST_ATTEMPTS * 2 * ANSWER_WITHIN
    assert timedelta(seconds=asked + answered) < WITHIN
