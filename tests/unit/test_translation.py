"""Errors of ours as Temporal's: how long a server has asked to be left alone goes with them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from tidemill_api.errors import HTTPUnavailable, SourceMissing, TidemillError
from tidemill_worker.activities.translation import translated


@pytest.mark.parametrize(
    ("error", "final", "wait"),
    [
        (HTTPUnavailable("busy", 90.0), False, timedelta(seconds=90)),
        (HTTPUnavailable("busy", 1e9), False, None),
        (HTTPUnavailable("cut"), False, None),
        (SourceMissing("gone"), True, None),
    ],
)
def test_what_a_server_asks_for_is_waited(error: TidemillError, final: bool, wait: timedelta | None) -> None:
    def fails() -> None:
        with translated():
            raise error

    with pytest.raises(ApplicationError) as raised:
        ActivityEnvironment().run(fails)
    assert (raised.value.type, raised.value.non_retryable) == (error.type, final)
    assert raised.value.next_retry_delay == wait
