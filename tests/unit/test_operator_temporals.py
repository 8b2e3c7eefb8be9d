"""Which client a connection has, and what a pipeline that is gone may have left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from tests.unit.operator_world import PIPELINE, SETTINGS, entry_of, schedule
from tidemill_api import conditions as said
from tidemill_api.contract import ScheduleMemo
from tidemill_operator.actions import DeleteSchedule
from tidemill_operator.adapters.temporals import Temporals
from tidemill_operator.clients import Clients, Key, PipelineInTemporal
from tidemill_operator.pipeline.remains import remains
from tidemill_operator.store import MemoryStore
from tidemill_operator.views import ConnectionKey, ConnectionPendingError, TemporalTarget

KEY = ("travel", "default")
OWN = TemporalTarget("own:7233")


@dataclass
class Resolver:
    """Where connections lead; counts how often it was asked."""

    leads: dict[tuple[str, str], TemporalTarget]
    asked: int = 0

    async def __call__(self, connection: tuple[str, str]) -> TemporalTarget:
        self.asked += 1
        if connection not in self.leads:
            raise ConnectionPendingError(said.WAITING_FOR_CONNECTION, "not there")
        return self.leads[connection]


def temporals(resolver: Resolver, default: TemporalTarget | None = OWN) -> Temporals:
    return Temporals("inst", default, resolver, lambda _rpc, _outcome, _seconds: None)


async def test_a_connection_is_resolved_once() -> None:
    resolver = Resolver({KEY: TemporalTarget("t:7233")})
    all_of_them = temporals(resolver)

    first, second = await all_of_them.get(KEY), await all_of_them.get(KEY)

    assert first is second
    assert (first.target.address, resolver.asked) == ("t:7233", 1)
    assert (await all_of_them.get(None)).target == OWN
    assert set(all_of_them.in_use()) == {None, KEY}


async def test_new_credentials_make_a_new_client_and_the_same_ones_keep_it() -> None:
    all_of_them = temporals(Resolver({}))
    old = all_of_them.set(KEY, TemporalTarget("t:7233", api_key="old"))

    assert all_of_them.set(KEY, TemporalTarget("t:7233", api_key="old")) is old
    new = all_of_them.set(KEY, TemporalTarget("t:7233", api_key="new"))
    assert new is not old
    assert await all_of_them.get(KEY) is new


@pytest.mark.parametrize(
    ("connection", "default", "words"), [(KEY, OWN, "not there"), (None, None, "no Temporal of its own")]
)
async def test_what_leads_nowhere_says_what_it_waits_for(
    connection: ConnectionKey, default: TemporalTarget | None, words: str
) -> None:
    with pytest.raises(ConnectionPendingError, match=words) as raised:
        await temporals(Resolver({}), default).get(connection)

    assert raised.value.reason == said.WAITING_FOR_CONNECTION


async def test_a_connection_that_came_is_found_and_one_that_went_is_not() -> None:
    resolver = Resolver({})
    all_of_them = temporals(resolver)
    with pytest.raises(ConnectionPendingError):
        await all_of_them.get(KEY)

    resolver.leads[KEY] = TemporalTarget("t:7233")
    assert (await all_of_them.get(KEY)).target.address == "t:7233"
    resolver.leads.clear()
    all_of_them.drop(KEY)
    with pytest.raises(ConnectionPendingError):
        await all_of_them.get(KEY)


def memo(**changes: str) -> ScheduleMemo:
    fields = {"installation": "inst", "namespace": "travel", "name": "flights", "uid": "uid-gone", **changes}
    return ScheduleMemo.model_validate(fields)


@pytest.mark.parametrize(
    ("found", "removed"),
    [
        (memo(), True),
        (memo(name="hotels"), False),
        (memo(installation="other"), False),
        (None, False),
    ],
)
async def test_of_a_gone_pipeline_its_own_schedules_are_removed_everywhere(
    found: ScheduleMemo | None, removed: bool
) -> None:
    store = MemoryStore()
    places: tuple[ConnectionKey, ...] = (None, KEY)
    for place in places:
        entry = entry_of(schedule(memo=found))
        store.temporal(place).pipelines[PIPELINE.schedule] = PipelineInTemporal(entry=entry)
    nothing = cast("Any", None)  # neither client may be asked
    clients = Clients(store=store, kubernetes=nothing, temporals=nothing, settings=SETTINGS)

    actions = await remains(Key("DataPipeline", "travel", "flights"), clients)

    assert actions == (tuple(DeleteSchedule(place, PIPELINE.schedule) for place in places) if removed else ())
