"""Where the keys of a store come from: a mounted Secret, or what the worker's pod is by itself.

Without a Secret they are looked for as AWS' own clients do: environment, web identity (IRSA), container credentials
(EKS Pod Identity, ECS), and on a laptop the shared file. Not the metadata service of a node: what it gives are the
node's rights, not the pool's, and a pool's NetworkPolicy closes the way to it.
"""

from __future__ import annotations

import configparser
import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from tidemill_api.errors import SecretMissing, StoreDenied, StoreUnavailable
from tidemill_api.names import S3_ACCESS_KEY, S3_SECRET_KEY, S3_SESSION_TOKEN
from tidemill_worker.connections.s3.signing import Keys, amazon
from tidemill_worker.connections.secrets import read_secret

KeysNow = Callable[[], Keys]
"""The keys as they are now. Blocks; raises SecretMissing, StoreDenied, StoreUnavailable."""
_EARLY: Final = 300.0
"""Seconds before keys end at which new ones are asked for."""
_SECONDS: Final = 10.0
_MOST: Final = 1 << 20


def mounted(folder: Path, secret: str) -> KeysNow:
    """The keys of a Secret, read each time: it may have changed."""

    def now() -> Keys:
        below = (folder / secret).resolve().parent  # behind the link that is changed as a whole: one state of it
        try:
            token = read_secret(below, secret, S3_SESSION_TOKEN)
        except SecretMissing:
            token = None
        return Keys(read_secret(below, secret, S3_ACCESS_KEY), read_secret(below, secret, S3_SECRET_KEY), token)

    return now


def sts_of(region: str) -> str:
    """Where a region's identities get their keys."""
    return f"https://sts.{region}.{amazon(region)}/"


class Chain:
    """The keys of the worker itself. `connection` is for messages."""

    def __init__(self, connection: str, region: str, environment: Mapping[str, str], home: Path) -> None:
        self._connection = connection
        self._region = region
        self._environment = environment
        self._home = home
        self._lock = threading.Lock()
        self._kept: tuple[Keys, float] | None = None

    def __call__(self) -> Keys:
        """See `KeysNow`. Keys for a while are kept until shortly before they end."""
        with self._lock:
            if self._kept is None or self._kept[1] - _EARLY < time.time():
                self._kept = self._found()
            return self._kept[0]

    def _found(self) -> tuple[Keys, float]:
        known = self._environment
        if S3_ACCESS_KEY in known and S3_SECRET_KEY in known:
            return Keys(known[S3_ACCESS_KEY], known[S3_SECRET_KEY], known.get(S3_SESSION_TOKEN)), float("inf")
        if "AWS_WEB_IDENTITY_TOKEN_FILE" in known and "AWS_ROLE_ARN" in known:
            return self._by_web_identity()
        if "AWS_CONTAINER_CREDENTIALS_FULL_URI" in known:
            return self._of_container(known["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
        if "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" in known:
            return self._of_container("http://169.254.170.2" + known["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])
        return self._of_file()

    def _by_web_identity(self) -> tuple[Keys, float]:
        known = self._environment
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": known["AWS_ROLE_ARN"],
            "RoleSessionName": known.get("AWS_ROLE_SESSION_NAME", "tidemill"),
            "WebIdentityToken": self._text_of(known["AWS_WEB_IDENTITY_TOKEN_FILE"]),
        }
        url = known.get("AWS_ENDPOINT_URL_STS", sts_of(self._region))
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = self._asked("POST", url, headers, urlencode(form)).decode(errors="replace")
        told = dict(re.findall(r"<(AccessKeyId|SecretAccessKey|SessionToken|Expiration)>([^<]*)</", answer))
        return self._keys(told, "SessionToken", url)

    def _of_container(self, url: str) -> tuple[Keys, float]:
        known, headers = self._environment, {}
        if "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" in known:
            headers["authorization"] = self._text_of(known["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
        elif "AWS_CONTAINER_AUTHORIZATION_TOKEN" in known:
            headers["authorization"] = known["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        try:
            told = json.loads(self._asked("GET", url, headers))
        except ValueError:
            told = {}
        return self._keys(told if isinstance(told, dict) else {}, "Token", url)

    def _of_file(self) -> tuple[Keys, float]:
        file = Path(self._environment.get("AWS_SHARED_CREDENTIALS_FILE", self._home / ".aws" / "credentials"))
        profile = self._environment.get("AWS_PROFILE", "default")
        read = configparser.RawConfigParser()
        try:
            read.read(file, encoding="utf-8")
            found = dict(read[profile])
            keys = Keys(found[S3_ACCESS_KEY.lower()], found[S3_SECRET_KEY.lower()], found.get(S3_SESSION_TOKEN.lower()))
        except (configparser.Error, KeyError, UnicodeDecodeError):
            raise StoreDenied(
                f"connections.{self._connection}.files.secretRef: there are no keys for the store: name a Secret with "
                f"{S3_ACCESS_KEY} and {S3_SECRET_KEY}, or give the pool's ServiceAccount an identity"
            ) from None
        return keys, float("inf")

    def _text_of(self, file: str) -> str:
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreUnavailable(
                f"connections.{self._connection}.files: the token of the pod's identity can't be read "
                f"({type(error).__name__})"
            ) from None

    def _asked(self, method: str, url: str, headers: Mapping[str, str], body: str | None = None) -> bytes:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.netloc, timeout=_SECONDS)
        try:
            connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
            answer = connection.getresponse()
            said = answer.read(_MOST)
        except (OSError, http.client.HTTPException) as error:
            raise StoreUnavailable(
                f"connections.{self._connection}.files: {parts.hostname}, which gives the pod's identity its keys, "
                f"can't be reached ({type(error).__name__})"
            ) from None
        finally:
            connection.close()
        if answer.status >= 500 or answer.status == 429:
            raise StoreUnavailable(
                f"connections.{self._connection}.files: {parts.hostname}, which gives the pod's identity its keys, "
                f"answers {answer.status}"
            )
        if answer.status != 200:
            raise StoreDenied(
                f"connections.{self._connection}.files: {parts.hostname} gives the pod's identity no keys "
                f"({answer.status}): look at the annotations of the pool's ServiceAccount and the role's trust"
            )
        return said

    def _keys(self, told: Mapping[str, Any], token: str, url: str) -> tuple[Keys, float]:
        try:
            keys = Keys(str(told["AccessKeyId"]), str(told["SecretAccessKey"]), str(told[token]))
            return keys, datetime.fromisoformat(str(told["Expiration"])).timestamp()
        except (KeyError, ValueError):
            raise StoreUnavailable(
                f"connections.{self._connection}.files: {urlsplit(url).hostname} gives the pod's identity no keys "
                "that can be read"
            ) from None
