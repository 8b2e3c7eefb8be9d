"""What is told to a web server: of its answers only the heads count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.receiver import Conduct, Receiver, Status
from tidemill_api.errors import HTTPUnavailable
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_worker.connections.http import HTTPPlace


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as listening:
        yield listening


@pytest.fixture
def place(receiver: Receiver, tmp_path: Path) -> Iterator[HTTPPlace]:
    made = HTTPPlace("chat", HTTPConnection.model_validate({"url": receiver.url}), tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("conduct", "status"),
    [("Endless", 200), (Status(204), 204), (Status(503, {"Retry-After": "7"}), 503)],
    ids=["endless", "taken", "later"],
)
async def test_only_the_head_is_read(place: HTTPPlace, receiver: Receiver, conduct: Conduct, status: int) -> None:
    receiver.will("/hook", conduct, conduct)
    for _ in range(2):
        head = await place.request("POST", "hook", body=b"{}", seconds=10.0)
        assert (head.status, head.headers.get("retry-after")) == (status, "7" if status == 503 else None)


async def test_no_head_is_no_answer(place: HTTPPlace, receiver: Receiver) -> None:
    receiver.will("/hook", "Cut")
    with pytest.raises(HTTPUnavailable, match="the connection broke"):
        await place.request("POST", "hook", body=b"{}")
    assert (await place.request("POST", "hook", body=b"{}")).status == 204
