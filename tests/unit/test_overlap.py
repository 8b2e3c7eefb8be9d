"""Who may run: the overlap policies as a table."""

from __future__ import annotations

import pytest

from tidemill_worker.overlap import (
    Cancel,
    Decision,
    GiveUp,
    Owner,
    Place,
    Policy,
    Take,
    Terminate,
    Wait,
    decide,
    in_the_way,
)


def place(name: str, number: int, *, holding: bool = False, backfill: bool = False) -> Place:
    return Place(Owner(f"w/{name}", name), name, number, holding, backfill)


HOLDER = place("holder", 1, holding=True)
FIRST = place("first", 2)
SECOND = place("second", 3)
ME = place("me", 4)


@pytest.mark.parametrize(
    ("policy", "mine", "others", "decision"),
    [
        *((policy, None, (), Take()) for policy in ("Skip", "BufferOne", "BufferAll", "CancelOther", "TerminateOther")),
        ("AllowAll", None, (HOLDER, FIRST), Take()),
        ("BufferOne", None, (HOLDER,), Wait()),
        ("BufferOne", ME, (HOLDER, FIRST), Wait()),
        ("BufferAll", None, (HOLDER, FIRST, SECOND), Wait()),
        ("BufferAll", ME, (FIRST,), Wait()),
        ("BufferAll", FIRST, (SECOND,), Take()),
        ("BufferAll", FIRST, (HOLDER, SECOND), Wait()),
        ("CancelOther", None, (HOLDER, FIRST), Cancel((HOLDER, FIRST))),
        ("CancelOther", FIRST, (HOLDER, SECOND), Cancel((HOLDER,))),
        ("TerminateOther", None, (HOLDER,), Terminate((HOLDER,))),
        ("TerminateOther", ME, (HOLDER, SECOND), Terminate((HOLDER, SECOND))),
    ],
)
def test_policy(policy: Policy, mine: Place | None, others: tuple[Place, ...], decision: Decision) -> None:
    assert decide(policy, mine, others) == decision


@pytest.mark.parametrize(
    ("policy", "others", "names"),
    [
        ("Skip", (HOLDER,), ("holder",)),
        ("Skip", (FIRST,), ("first",)),
        ("BufferOne", (HOLDER, FIRST), ("holder", "first")),
    ],
)
def test_giving_up_says_who_is_in_the_way(policy: Policy, others: tuple[Place, ...], names: tuple[str, ...]) -> None:
    decision = decide(policy, None, others)

    assert isinstance(decision, GiveUp)
    assert policy in decision.reason
    assert all(f"run {name} " in decision.reason for name in names)


def test_who_waits_in_another_temporal_is_not_heeded_who_holds_the_slot_there_is() -> None:
    far = {name: Owner(name, name, "there:7233/default") for name in ("holds", "waits")}
    near, holds, waits = (
        Place(Owner("near", "near", "here:7233/default"), "near", 1, holding=False),
        Place(far["holds"], "holds", 2, holding=True),
        Place(far["waits"], "waits", 3, holding=False),
    )

    found = in_the_way("mine", (near, holds, waits, FIRST), backfill=False, temporal="here:7233/default")

    assert found == (near, holds, FIRST)


FILLED = place("filled", 5, holding=True, backfill=True)


@pytest.mark.parametrize(
    ("run_key", "backfill", "others", "expected"),
    [
        ("mine", False, (HOLDER, FIRST), (HOLDER, FIRST)),
        ("mine", False, (HOLDER, FILLED), (HOLDER,)),
        ("mine", True, (HOLDER, FILLED), ()),
        ("filled", False, (HOLDER, FILLED), (HOLDER, FILLED)),
        ("holder", True, (HOLDER, FILLED), (HOLDER,)),
        ("filled", True, (FILLED,), (FILLED,)),
    ],
)
def test_a_backfills_runs_and_others_heed_each_other_only_for_one_key(
    run_key: str, backfill: bool, others: tuple[Place, ...], expected: tuple[Place, ...]
) -> None:
    assert in_the_way(run_key, others, backfill=backfill) == expected
