"""Ranges of files on web servers that give others than they were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.web_server import Asked, Reply, WebServer
from tidemill_api.errors import HTTPUnavailable, SourceUnreadable
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_worker.connections import http_patience
from tidemill_worker.connections.http import HTTPPlace
from tidemill_worker.connections.http_files import HTTPFiles

DATA = bytes(range(200))
HELD = '"1"'


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with WebServer().running() as listening:
        yield listening


@pytest.fixture
def files(server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPFiles]:
    monkeypatch.setattr(http_patience, "FIRST_WAIT", 0.001)
    server.forget()
    place = HTTPPlace("api", HTTPConnection(url=f"{server.url}/"), tmp_path)
    yield HTTPFiles(place)
    place.close()


def ranges(most: int = len(DATA), shift: int = 0) -> Callable[[Asked], Reply]:
    """Answers with at most so many bytes of a range, and from as many bytes later on."""

    def answer(asked: Asked) -> Reply:
        first, _, last = asked.headers["range"].removeprefix("bytes=").partition("-")
        begin = int(first) + (shift if first != "0" else 0)
        end = min(int(last or len(DATA)) + 1, begin + most, len(DATA))
        told = {"ETag": HELD, "Content-Range": f"bytes {begin}-{end - 1}/{len(DATA)}"}
        return Reply(DATA[begin:end], 206, told)

    return answer


@pytest.mark.parametrize("end", [None, 150, 300])
def test_a_shorter_range_is_taken_up_where_it_ends(server: WebServer, files: HTTPFiles, end: int | None) -> None:
    server.serve("/a.bin", ranges(most=40))
    (ref,) = files.matching("a.bin")
    with files.opened(ref, 20, end) as body:
        assert body.read() == DATA[20:end]
    begins = [asked.headers["range"].removeprefix("bytes=").partition("-")[0] for asked in server.asked[1:]]
    assert begins == ["20", "60", "100", "140", "180"][: len(begins)]
    with files.held(ref) as body:
        body.seek(100)
        assert body.read(90) == DATA[100:190]


def test_a_range_without_bytes_ends(server: WebServer, files: HTTPFiles) -> None:
    server.serve("/a.bin", ranges())
    (ref,) = files.matching("a.bin")
    told = {"ETag": HELD, "Content-Range": f"bytes 20-199/{len(DATA)}"}
    server.serve("/a.bin", Reply(b"", 206, told))
    with files.opened(ref, 20) as body, pytest.raises(HTTPUnavailable, match="ends before its range does"):
        body.read()
    assert len(server.asked) == 1 + http_patience.ATTEMPTS


def test_another_range_is_not_taken_for_the_one_asked_for(server: WebServer, files: HTTPFiles) -> None:
    server.serve("/a.bin", ranges(shift=1))
    (ref,) = files.matching("a.bin")
    with files.opened(ref, 20) as body, pytest.raises(SourceUnreadable, match="from byte 20 on, and the answer begins"):
        body.read()
