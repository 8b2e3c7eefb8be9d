"""Secrets, mounted as files: `<folder>/<secret>/<key>`. They are read when needed, since they change while we run."""

from __future__ import annotations

from pathlib import Path

from tidemill_api.errors import SecretMissing
from tidemill_api.names import SECRETS_DIR, WHOLE_SECRETS_DIR


def whole_secrets(folder: Path) -> Path:
    """Where Secrets are with all their keys: in a pod apart from the others, elsewhere beside them."""
    return Path(WHOLE_SECRETS_DIR) if folder == Path(SECRETS_DIR) else folder


def read_secret(folder: Path, secret: str, key: str) -> str:
    """The text of one key, without white space around it. Raises SecretMissing, which names Secret and key."""
    try:
        text = (folder / secret / key).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SecretMissing(f"Secret {secret} has no key {key} here yet ({error.strerror})") from error
    if not text:
        raise SecretMissing(f"key {key} of Secret {secret} is empty")
    return text
