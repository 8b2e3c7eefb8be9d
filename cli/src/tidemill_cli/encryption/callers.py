"""Who may ask the codec server: holders of a token from a file, or of a JWT by an issuer that is trusted."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import urllib.request
from pathlib import Path
from typing import Final, Protocol

import jwt

from tidemill_api.errors import ConfigError

_SHORTEST: Final = 16
"""Characters that a token must have."""
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Signatures by a key pair: with a shared secret, who can check a token can also make one."""
_SOONEST: Final = 30.0
"""Seconds between two looks at the issuer's keys."""


class Callers(Protocol):
    """Knows who may ask."""

    async def admits(self, token: str) -> bool:
        """Whether the bearer of this token may ask."""
        ...


class TokenFile:
    """Tokens, one a line; `#` begins a comment. Read again when the file changes."""

    def __init__(self, file: Path) -> None:
        """Raises ConfigError if the file can't be read or holds no good token."""
        self._file = file
        self._mark: tuple[int, int] = (0, 0)
        self._digests: tuple[bytes, ...] = ()
        self._read()

    async def admits(self, token: str) -> bool:
        """Compares in constant time, with all tokens."""
        try:
            self._read()
        except ConfigError:
            return False  # a token that was taken back must not go on to be good
        mine = _digest(token)
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(mine, known)
        return found

    def _read(self) -> None:
        try:
            found = self._file.stat()
            mark = found.st_mtime_ns, found.st_ino
            if mark == self._mark:
                return
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--token-file {self._file}: can't be read: {error}") from None
        tokens = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not tokens or any(len(token) < _SHORTEST for token in tokens):
            raise ConfigError(
                f"--token-file {self._file}: must hold a token a line, each of {_SHORTEST} characters or more, "
                "such as `openssl rand -hex 32` prints"
            )
        self._mark, self._digests = mark, tuple(map(_digest, tokens))


class Issuer:
    """JWTs of one issuer for one audience, checked by its published keys."""

    def __init__(self, jwks: str, issuer: str, audience: str) -> None:
        """`jwks`: an https URL, or a file. Raises ConfigError if the keys can't be read."""
        if "://" in jwks and not jwks.startswith("https://"):
            raise ConfigError(f"--jwks {jwks}: must be an https URL or a file")
        self._jwks, self._issuer, self._audience = jwks, issuer, audience
        self._keys: dict[str, jwt.PyJWK] = {}
        self._looked = -_SOONEST
        self._refresh()

    async def admits(self, token: str) -> bool:
        """Signature, issuer, audience and time are right."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(str(header.get("kid", "")))
            if key is None:
                return False
            jwt.decode(
                token,
                key,
                algorithms=[name for name in _ALGORITHMS if name == header.get("alg")],
                audience=self._audience,
                issuer=self._issuer,
                leeway=30,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError):
            return False
        return True

    async def _key(self, key_id: str) -> jwt.PyJWK | None:
        """The issuer's key of that id; issuers change their keys, so an unknown one is looked for now and then."""
        if key_id not in self._keys and time.monotonic() - self._looked >= _SOONEST:
            try:
                await asyncio.to_thread(self._refresh)
            except ConfigError:
                return None
        return self._keys.get(key_id)

    def _refresh(self) -> None:
        self._looked = time.monotonic()
        try:
            if self._jwks.startswith("https://"):
                with urllib.request.urlopen(self._jwks, timeout=10) as answer:  # noqa: S310 - https only, see __init__
                    text = answer.read(1_000_000)
            else:
                text = Path(self._jwks).read_bytes()
            found = jwt.PyJWKSet.from_dict(json.loads(text))
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise ConfigError(f"--jwks {self._jwks}: can't be used: {error}") from None
        self._keys = {key.key_id or "": key for key in found.keys}


class AnyOf:
    """Callers that one of several knows."""

    def __init__(self, *known: Callers) -> None:
        self._known = known

    async def admits(self, token: str) -> bool:
        """Whether one of them admits it."""
        for callers in self._known:
            if await callers.admits(token):
                return True
        return False


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
