"""Secrets, mounted as files: `<folder>/<secret>/<key>`. They are read when needed, since they change while we run."""

from __future__ import annotations

from pathlib import Path

from tidemill_api.errors import SecretMissing


def read_secret(folder: Path, secret: str, key: str) -> str:
    """The text of one key, without white space around it. Raises SecretMissing, which names Secret and key."""
    try:
        text = (folder / secret / key).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SecretMissing(f"Secret {secret} has no key {key} here yet ({error.strerror})") from error
    if not text:
        raise SecretMissing(f"key {key} of Secret {secret} is empty")
    return text
