"""Which page comes after which: tables of answers, and what must end in an error instead of going on for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tidemill_api.errors import ConfigError, HostRefused, PagingBroken
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_worker.connections.http_urls import Base, base_of
from tidemill_worker.engine.json_answers import document, found
from tidemill_worker.engine.model import Asked
from tidemill_worker.engine.paging import Walk, next_link

BASE = base_of("api", "https://api.example.com/v1/")


@dataclass(frozen=True)
class Way:
    """Answers, one after the other, and the targets that are asked for meanwhile; the last one may be an error."""

    settings: Mapping[str, Any]
    answers: list[Any]
    targets: list[str]
    headers: list[dict[str, str]] = field(default_factory=list)
    ends: type[Exception] | None = None
    says: str = ""


def rows(*numbers: int) -> list[dict[str, int]]:
    return [{"id": number} for number in numbers]


WAYS = {
    "one page": Way({}, [rows(1)], ["/v1/items?state=all"]),
    "numbers until a page has no rows": Way(
        {"paging": {"page": {}}},
        [rows(1), rows(2), []],
        ["/v1/items?state=all&page=1", "/v1/items?state=all&page=2", "/v1/items?state=all&page=3"],
    ),
    "numbers from 0 up to a total": Way(
        {"paging": {"page": {"parameter": "p", "first": 0, "total": "pages"}}, "rows": "rows"},
        [{"pages": 2, "rows": rows(1)}, {"pages": "2", "rows": rows(2)}],
        ["/v1/items?state=all&p=0", "/v1/items?state=all&p=1"],
    ),
    "offsets go by the rows that came": Way(
        {"paging": {"offset": {"total": "n"}}, "rows": "rows"},
        [{"n": 3, "rows": rows(1, 2)}, {"n": 3, "rows": rows(3)}],
        ["/v1/items?state=all&offset=0", "/v1/items?state=all&offset=2"],
    ),
    "numbers up to a total, over pages without rows": Way(
        {"paging": {"page": {"total": "pages"}}, "rows": "rows"},
        [{"pages": 4, "rows": each} for each in (rows(1), [], [], rows(2))],
        [f"/v1/items?state=all&page={number}" for number in (1, 2, 3, 4)],
    ),
    "a cursor, encoded": Way(
        {"paging": {"cursor": {"next": "meta.next"}}, "rows": "rows"},
        [{"meta": {"next": "a&b=é"}, "rows": rows(1)}, {"meta": {"next": None}, "rows": rows(2)}],
        ["/v1/items?state=all", "/v1/items?state=all&cursor=a%26b%3D%C3%A9"],
    ),
    "a cursor that is a number, and pages without rows between": Way(
        {"paging": {"cursor": {"next": "next", "parameter": "after"}}, "rows": "rows"},
        [{"next": 7, "rows": []}, {"next": False, "rows": rows(2)}],
        ["/v1/items?state=all", "/v1/items?state=all&after=7"],
    ),
    "links in the header": Way(
        {"paging": {"link": {}}},
        [rows(1), rows(2)],
        ["/v1/items?state=all", "/v1/items?page=2"],
        [{"link": '<https://api.example.com/v1/items?page=2>; rel="next", <https://x.example/>; rel="last"'}, {}],
    ),
    "URLs in the body, relative and whole": Way(
        {"paging": {"next": {"url": "next"}}, "rows": "rows"},
        [
            {"next": "?page=2", "rows": rows(1)},
            {"next": "HTTPS://API.example.com:443/v1/items?page=3", "rows": rows(2)},
            {"next": "", "rows": rows(3)},
        ],
        ["/v1/items?state=all", "/v1/items?page=2", "/v1/items?page=3"],
    ),
    "the same page for ever": Way(
        {"paging": {"page": {}}},
        [rows(1), rows(1)],
        ["/v1/items?state=all&page=1", "/v1/items?state=all&page=2"],
        ends=PagingBroken,
        says="page 2 has the same rows as the page before: does the API know the parameter page?",
    ),
    "a cursor that stands still": Way(
        {"paging": {"cursor": {"next": "next"}}, "rows": "rows"},
        [{"next": "x", "rows": rows(1)}, {"next": "x", "rows": rows(2)}],
        ["/v1/items?state=all", "/v1/items?state=all&cursor=x"],
        ends=PagingBroken,
        says="page 2 leads to a page that was read before: its pages go in a circle",
    ),
    "links in a circle": Way(
        {"paging": {"next": {"url": "next"}}, "rows": "rows"},
        [{"next": "?page=2", "rows": rows(1)}, {"next": "?state=all", "rows": rows(2)}],
        ["/v1/items?state=all", "/v1/items?page=2"],
        ends=PagingBroken,
        says="circle",
    ),
    "a cursor without end": Way(
        {"paging": {"cursor": {"next": "next"}}, "rows": "rows", "maxPages": 2},
        [{"next": "x", "rows": rows(1)}, {"next": "y", "rows": rows(2)}],
        ["/v1/items?state=all", "/v1/items?state=all&cursor=x"],
        ends=PagingBroken,
        says=r"more than maxPages \(2\) pages",
    ),
    "a cursor that is an object": Way(
        {"paging": {"cursor": {"next": "next"}}, "rows": "rows"},
        [{"next": {"a": "secret"}, "rows": rows(1)}],
        ["/v1/items?state=all"],
        ends=PagingBroken,
        says="page 1 has neither a text nor a number at paging.cursor.next",
    ),
    "a total that is none": Way(
        {"paging": {"page": {"total": "pages"}}, "rows": "rows"},
        [{"pages": None, "rows": rows(1)}],
        ["/v1/items?state=all&page=1"],
        ends=PagingBroken,
        says="no number at paging.page.total",
    ),
    "rows that are promised and don't come": Way(
        {"paging": {"offset": {"total": "n"}}, "rows": "rows"},
        [{"n": 3, "rows": rows(1)}, {"n": 3, "rows": []}],
        ["/v1/items?state=all&offset=0", "/v1/items?state=all&offset=1"],
        ends=PagingBroken,
        says="page 2 has no rows, though 3 are said to be there and 1 were read",
    ),
    "a link to another host": Way(
        {"paging": {"next": {"url": "next"}}, "rows": "rows"},
        [{"next": "https://evil.example/v1/items?token=1", "rows": rows(1)}],
        ["/v1/items?state=all"],
        ends=HostRefused,
        says="the server leads to https://evil.example, and the pool gives https://api.example.com only",
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_pages_follow_each_other(name: str) -> None:
    way = WAYS[name]
    settings = HTTPSource.model_validate(way.settings)
    walk = Walk("items", settings, BASE, Asked("items", (("state", "all"),)))
    asked = []

    def go() -> None:
        for place, answer in enumerate(way.answers):
            assert walk.target is not None, "no further page is asked for"
            target = walk.target
            asked.append(target)
            page = document(json.dumps(answer).encode(), "it")
            lines = page.lines(found(settings.rows, page.value, "it"))
            walk.go_on(page.value, lines, way.headers[place] if way.headers else {}, target)

    if way.ends is not None:
        with pytest.raises(way.ends, match=way.says) as raised:
            go()
        assert "secret" not in str(raised.value)
        assert "token" not in str(raised.value)
    else:
        go()
        assert walk.target is None
    assert asked == way.targets


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({}, ["items"]),
        ({"paging": {"page": {}}}, ["items?page=1", "items?page=2"]),
        ({"paging": {"offset": {}}}, ["items?offset=0", "items?offset=1"]),
        ({"paging": {"cursor": {"next": "[0].c"}}}, ["items#page=1", "items#page=2"]),
    ],
)
def test_labels_of_pages_hold_no_value_of_the_run(settings: Mapping[str, Any], labels: list[str]) -> None:
    walk = Walk("items", HTTPSource.model_validate(settings), BASE, Asked("items", (("token", "hidden"),)))
    found_labels = [walk.label]
    if len(labels) > 1:
        value = [{"c": "opaque"}]
        walk.go_on(value, document(json.dumps(value).encode(), "it").lines(value), {}, walk.target or "")
        found_labels.append(walk.label)
    assert found_labels == labels


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ("", ""),
        ('<a>; rel="next"', "a"),
        ("<a>; rel=next", "a"),
        ('<a>; rel="prev", <b,c>; title="x, y"; rel="last next"', "b,c"),
        ('<a>; title="rel=next"', ""),
        ('<a>; REL="NEXT"', "a"),
        ("no link at all; rel=next", ""),
    ],
)
def test_the_next_link_of_a_header(header: str, url: str) -> None:
    assert next_link(header) == url


PLACES = {
    "relative": ("/v1/a", "b?x=1", "/v1/b?x=1"),
    "query alone": ("/v1/a?x=1", "?x=2", "/v1/a?x=2"),
    "whole": ("/v1/a", "https://API.EXAMPLE.com/v1/c", "/v1/c"),
    "own port": ("/v1/a", "https://api.example.com:443/v1/c", "/v1/c"),
    "another scheme": ("/v1/a", "http://api.example.com/v1/c", None),
    "another port": ("/v1/a", "https://api.example.com:8443/v1/c", None),
    "another host": ("/v1/a", "//evil.example/v1/c", None),
    "a host that looks alike": ("/v1/a", "https://api.example.com@evil.example/v1/c", None),
    "with a password": ("/v1/a", "https://user:pass@api.example.com/v1/c", None),
    "out of the prefix": ("/v1/a", "/v2/c", None),
    "up": ("/v1/a", "../v2/c", None),
    "up, encoded": ("/v1/a", "/v1/%2e%2e/v2", None),
    "up, whole": ("/v1/a", "https://api.example.com/v1/../v2", None),
    "up, with a parameter": ("/v1/a", "/v1/..;/v2", None),
    "up, with a parameter and encoded": ("/v1/a", "/v1/%2e.%3Bx=1/v2", None),
    "up, with a parameter, whole": ("/v1/a", "https://api.example.com/v1/..;x/../..;/v2", None),
    "parameters": ("/v1/a", "/v1/b;x=../c", "/v1/b;x=../c"),
    "no URL": ("/v1/a", "https://[oops", None),
    "a line break": ("/v1/a", "/v1/c\r\nHost: evil.example", "/v1/cHost:%20evil.example"),
}


@pytest.mark.parametrize("name", PLACES)
def test_links_stay_with_the_connection(name: str) -> None:
    target, link, answer = PLACES[name]
    if answer is None:
        with pytest.raises(HostRefused):
            BASE.linked(target, link)
    else:
        assert BASE.linked(target, link) == answer


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://h", "/a%20b/c%3F?q=1+%26"),
        ("http://h:8080/x", "/x/a%20b/c%3F?q=1+%26"),
        ("https://h/x/", "/x/a%20b/c%3F?q=1+%26"),
    ],
)
def test_targets_are_encoded(url: str, target: str) -> None:
    base: Base = base_of("api", url)
    assert base.target("a b/c?", [("q", "1 &")]) == target
    for path in ("a/../../b", "..;/b", "a/..;x=1/b", "a/%2e%2E/b", "a\\..;\\b", ".."):
        with pytest.raises(HostRefused, match="goes up"):
            base.target(path)


@pytest.mark.parametrize("port", ["0", "00000", "65536", "99999"])
def test_a_port_that_does_not_exist_is_the_pool_s_fault(port: str) -> None:
    with pytest.raises(ConfigError, match=r"^connections\.api\.http\.url: the port must be between 1 and 65535$"):
        base_of("api", f"https://h:{port}/")


NUMBERS = '[{"a": 1.10, "b": 12345678901234567890.123456789, "c": 1e2, "d": 7, "e": [0.10], "f": "é\\u0000", "g": NaN}]'


def test_numbers_keep_their_digits() -> None:
    page = document(NUMBERS.encode(), "it")
    line = page.lines(found("@", page.value, "it"))[0].decode()
    assert line == (
        '{"a": 1.10, "b": 12345678901234567890.123456789, "c": 1e2, "d": 7, "e": [0.10], "f": "é\\u0000", "g": NaN}\n'
    )
    assert found("sum([0].e) < `1`", page.value, "it") is True
    assert found("[?a > `1`].d", page.value, "it") == [7]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"a":' * 300 + b"1" + b"}" * 300])
def test_what_is_no_json_is_one_typed_error(body: bytes) -> None:
    with pytest.raises(PagingBroken, match="it is no JSON in UTF-8"):
        document(body, "it")


def test_an_expression_that_fails_says_nothing_of_the_values() -> None:
    with pytest.raises(PagingBroken, match=r"rows: the expression 'abs\(@\)' fails \(JMESPathTypeError\)"):
        found("abs(@)", {"secret": 1}, "rows")
