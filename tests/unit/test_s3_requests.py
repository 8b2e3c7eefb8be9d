"""The S3 client without a server: signatures, patterns, listings, where keys come from, and what answers mean."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_api.errors import (
    BucketMissing,
    ConfigError,
    SecretMissing,
    SourceChanged,
    StoreDenied,
    StoreThrottled,
    StoreUnavailable,
)
from tidemill_api.v1alpha1.workerpool import FilesConnection
from tidemill_worker.connections.file_places import client_of
from tidemill_worker.connections.s3.client import Answer, Bucket, Client, Missing, Other
from tidemill_worker.connections.s3.credentials import Chain, mounted, sts_of
from tidemill_worker.connections.s3.objects import Objects, matcher
from tidemill_worker.connections.s3.signing import Keys, path_of, query_of, signed
from tidemill_worker.connections.s3.xml import Listed, Page, code_of, page_of
from tidemill_worker.files import FileRef, segments
from tidemill_worker.files.folder import Folder

_KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("query", "signature"),
    [  # of "Authenticating Requests: Using the Authorization Header", Amazon S3 API Reference
        ([("lifecycle", "")], "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ([("prefix", "J"), ("max-keys", "2")], "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_amazons_own_examples_are_signed_alike(query: list[tuple[str, str]], signature: str) -> None:
    host, now = "examplebucket.s3.amazonaws.com", datetime(2013, 5, 24, tzinfo=UTC)
    headers = signed("GET", host, "/", query_of(query), _EMPTY, _KEYS, "us-east-1", now)
    assert headers["authorization"].endswith(f"Signature={signature}")
    assert "x-amz-security-token" not in headers
    token = signed("GET", host, "/", "", _EMPTY, Keys("a", "b", "c"), "us-east-1", now)
    assert token["x-amz-security-token"] == "c"
    assert "x-amz-security-token," in token["authorization"].replace(";", ",") + ","


def test_secrets_are_in_no_repr() -> None:
    assert "wJalr" not in repr(_KEYS)


def test_paths_are_escaped_but_for_slashes() -> None:
    assert path_of("", "a b/ü+c%~.csv") == "/a%20b/%C3%BC%2Bc%25~.csv"
    assert path_of("bucket", "") == "/bucket"


NAMES = st.sampled_from(
    ["a", "b", "ab", "a.csv", "b.csv", "a-1.csv", "x[1].csv", "A.csv", ".hidden", "a b.csv", "^!.csv"]
)
PARTS = st.sampled_from(
    [
        "*",
        "**",
        "*.csv",
        "a*",
        "?.csv",
        "[ab].csv",
        "[!a]*",
        "a",
        "*[0-9].csv",
        "x[[]1].csv",
        "[a-b]",
        "[]",
        "[!]",
        "[^!]*",
        "a b.csv",
    ]
)


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=8), st.lists(PARTS, min_size=1, max_size=3))
def test_a_pattern_means_in_a_bucket_what_it_means_in_a_folder(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[str]], pattern: list[str]
) -> None:
    root = tmp_path_factory.mktemp("glob")
    keys = []
    for parts in files:
        path = root.joinpath(*parts)
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            keys.append("/".join(parts))
    wanted = re.compile(matcher(segments("/".join(pattern))), re.DOTALL)
    found = [ref.path for ref in Folder(root).matching("/".join(pattern))]
    assert sorted(key for key in keys if wanted.fullmatch(key)) == found


def test_a_listing() -> None:
    text = b"""<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
    <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>m</NextContinuationToken>
    <Contents><Key>a+b%2Bc/%C3%BC.csv</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>
    <ETag>&quot;e1&quot;</ETag><Size>7</Size></Contents></ListBucketResult>"""
    assert page_of(text) == Page((Listed("a b+c/ü.csv", 7, 1767323045678000000, '"e1"'),), "m")
    plain = text.replace(b"<EncodingType>url</EncodingType>", b"").replace(b"true", b"false").replace(b"&quot;", b"")
    assert page_of(plain) == Page((Listed("a+b%2Bc/%C3%BC.csv", 7, 1767323045678000000, '"e1"'),), None)
    endless = text.replace(b"<NextContinuationToken>m</NextContinuationToken>", b"")
    empty = text.replace(b">m<", b"><")
    for broken in (b"", b"<a", text.replace(b"<Size>7</Size>", b""), endless, empty):
        with pytest.raises(ValueError, match=r"^"):
            page_of(broken)
    assert code_of(b"<Error><Code>NoSuchKey</Code>") == "NoSuchKey"
    assert code_of(b"<Code>not a code</Code>") == ""


@pytest.mark.parametrize(
    ("settings", "secure", "host", "before", "prefix"),
    [
        ({"url": "s3://landing"}, True, "landing.s3.us-east-1.amazonaws.com", "", ""),
        ({"url": "s3://landing/a/b"}, True, "landing.s3.us-east-1.amazonaws.com", "", "a/b/"),
        ({"url": "s3://a.b/", "region": "cn-north-1"}, True, "s3.cn-north-1.amazonaws.com.cn", "a.b", ""),
        ({"url": "s3://land/%?#/", "endpoint": "http://[::1]:90/"}, False, "[::1]:90", "land", "%?#/"),
    ],
)
def test_where_a_bucket_is(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], secure: bool, host: str, before: str, prefix: str
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    bucket = client_of(FilesConnection.model_validate(settings), "landing", Path()).bucket
    assert (*bucket.origin, bucket.prefix) == (secure, host, before, prefix)


@pytest.mark.parametrize(
    ("status", "code", "key", "kind", "words"),
    [
        (404, "NoSuchBucket", "a.csv", BucketMissing, r"connections\.landing\.files\.url: the store has no bucket b1"),
        (404, "NoSuchKey", "a.csv", Missing, "a.csv"),
        (412, "PreconditionFailed", "a.csv", Other, "a.csv"),
        (403, "InvalidAccessKeyId", "", StoreDenied, r"files\.secretRef: the store refuses the keys \(403 InvalidAcc"),
        (400, "ExpiredToken", "", StoreDenied, r"files\.secretRef: the store refuses the keys"),
        (403, "AccessDenied", "a.csv", StoreDenied, r"files\.secretRef: the keys don't allow GET of the object a\.csv"),
        (403, "", "", StoreDenied, "the keys don't allow GET of the bucket b1"),
        (403, "RequestTimeTooSkewed", "", StoreDenied, "clock"),
        (503, "SlowDown", "", StoreThrottled, r"connections\.landing\.files: the store asks for fewer requests"),
        (429, "", "", StoreThrottled, "fewer"),
        (500, "InternalError", "", StoreUnavailable, r"the store fails \(500 InternalError\)"),
        (503, "ServiceUnavailable", "", StoreUnavailable, "the store fails"),
        (301, "PermanentRedirect", "", ConfigError, r"files\.region: the bucket is in the region eu-west-3, not in r1"),
        (501, "NotImplemented", "", ConfigError, r"files\.url: the store refuses GET of the bucket b1 \(501 NotImpl"),
        (400, "InvalidBucketName", "", ConfigError, r"files\.url"),
    ],
)
def test_what_answers_mean(status: int, code: str, key: str, kind: type[Exception], words: str) -> None:
    client = Client(Bucket("landing", "b1", "", "r1", None), lambda: _KEYS)
    body = cast("HTTPResponse", None)  # what an answer says is read before
    answer = Answer(status, {"x-amz-bucket-region": "eu-west-3"}, body, lambda _whole: None)
    error = client._fault(answer, code, "GET", key)
    assert type(error) is kind
    assert re.search(words, str(error))
    assert getattr(error, "retryable", False) is (kind in (StoreThrottled, StoreUnavailable))


def test_keys_of_a_secret_are_read_each_time_and_of_one_state(tmp_path: Path) -> None:
    for state, token in (("1", None), ("2", "t2")):
        (tmp_path / f"..{state}" / "s3").mkdir(parents=True)
        (tmp_path / f"..{state}" / "s3" / "AWS_ACCESS_KEY_ID").write_text(f"a{state}\n")
        (tmp_path / f"..{state}" / "s3" / "AWS_SECRET_ACCESS_KEY").write_text(f"b{state}")
        if token:
            (tmp_path / f"..{state}" / "s3" / "AWS_SESSION_TOKEN").write_text(token)
    data = tmp_path / "..data"
    data.symlink_to("..1")
    now = mounted(data, "s3")
    assert now() == Keys("a1", "b1", None)
    (tmp_path / "new").symlink_to("..2")
    (tmp_path / "new").replace(data)
    assert now() == Keys("a2", "b2", "t2")
    with pytest.raises(SecretMissing, match="Secret s4 has no key AWS_ACCESS_KEY_ID"):
        mounted(data, "s4")()


@dataclass
class Asked:
    """A server that gives keys: of containers by GET, of web identities by POST."""

    url: str = ""
    status: int = 200
    answer: bytes = b""
    requests: list[tuple[str, str, str]] = field(default_factory=list)


@pytest.fixture
def asked() -> Iterator[Asked]:
    found = Asked()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            found.requests.append((self.path, self.headers.get("authorization", ""), body))
            self.send_response(found.status)
            self.send_header("content-length", str(len(found.answer)))
            self.end_headers()
            self.wfile.write(found.answer)

        do_GET = do_POST = _answer  # noqa: N815 - http.server calls them so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server calls it so
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}/keys?x=1"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield found
        server.shutdown()


@pytest.mark.parametrize(
    ("planned", "end", "status", "answer", "kind"),
    [
        (5, 5, 200, b"12345", None),  # the whole object may be answered as such
        (5, 5, 206, b"12345", None),
        (5, 5, 200, b"1234567", SourceChanged),
        (5, 5, 206, b"1234", SourceChanged),
        (5, 3, 206, b"123", None),
        (5, 3, 200, b"12345", StoreUnavailable),  # a store that knows no ranges
        (5, 3, 200, b"123", StoreUnavailable),
    ],
)
def test_an_object_is_read_by_the_range_that_was_asked_for(
    asked: Asked, planned: int, end: int, status: int, answer: bytes, kind: type[Exception] | None
) -> None:
    asked.status, asked.answer = status, answer
    endpoint = asked.url.partition("/keys")[0]
    place = Objects(Client(Bucket("landing", "b1", "", "r1", endpoint), lambda: _KEYS, tries=1))
    with closing(place), place.opened(FileRef("a.csv", planned, 0, etag=""), 0, end) as body:
        if kind is None:
            assert body.read() == answer
        else:
            with pytest.raises(kind):
                body.read()


def chain(environment: Mapping[str, str], home: Path) -> Chain:
    return Chain("landing", "r1", environment, home)


def test_the_worker_s_own_keys(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("jwt\n")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = a1\naws_secret_access_key = b%1\n[two]\naws_access_key_id=a2\n"
        "aws_secret_access_key=b2\naws_session_token=c2\n"
    )
    given_ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert chain(given_, tmp_path)() == Keys("a", "b", None)
    assert chain(given_ | {"AWS_SESSION_TOKEN": "c"}, tmp_path)() == Keys("a", "b", "c")
    assert chain({}, tmp_path)() == Keys("a1", "b%1", None)
    assert chain({"AWS_PROFILE": "two"}, tmp_path)() == Keys("a2", "b2", "c2")
    for environment, home in (({"AWS_PROFILE": "three"}, tmp_path), ({}, tmp_path / "nobody")):
        with pytest.raises(StoreDenied, match=r"connections\.landing\.files\.secretRef: there are no keys"):
            chain(environment, home)()


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-west-3", "https://sts.eu-west-3.amazonaws.com/"),
        ("us-gov-west-1", "https://sts.us-gov-west-1.amazonaws.com/"),
        ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
    ],
)
def test_where_a_region_s_identities_get_their_keys(region: str, url: str) -> None:
    assert sts_of(region) == url


def test_a_pod_s_identity_is_asked_once_until_its_keys_end(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("jwt\n")
    web = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
        "AWS_ENDPOINT_URL_STS": asked.url,
    }
    asked.answer = (
        b"<r><AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken>"
        b"<Expiration>2999-01-01T00:00:00Z</Expiration></r>"
    )
    keys = chain(web, tmp_path)
    assert keys() == keys() == Keys("a", "b", "c")
    assert [("jwt" in body, "arn%3Aaws%3Aiam" in body) for _, _, body in asked.requests] == [(True, True)]

    container = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": asked.url,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
    }
    for end, times in (("2999-01-01T00:00:00Z", 1), ("2026-01-01T00:00:00Z", 2)):
        told = {"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "c", "Expiration": end}
        asked.answer = json.dumps(told).encode()
        asked.requests.clear()
        keys = chain(container, tmp_path)
        assert keys() == keys() == Keys("a", "b", "c")
        assert [(path, token) for path, token, _ in asked.requests] == [("/keys?x=1", "jwt")] * times

    for status, answer, kind in (
        (403, b"secret words", StoreDenied),
        (500, b"secret words", StoreUnavailable),
        (200, b"secret words", StoreUnavailable),
        (200, b"[]", StoreUnavailable),
    ):
        asked.status, asked.answer = status, answer
        for environment in (web, container):
            with pytest.raises(kind, match=r"^connections\.landing\.files") as caught:
                chain(environment, tmp_path)()
            assert "secret words" not in str(caught.value)
    gone = container | {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "gone")}
    with pytest.raises(StoreUnavailable, match="the token of the pod's identity can't be read"):
        chain(gone, tmp_path)()
