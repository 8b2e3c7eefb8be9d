"""What a store says, read from its XML. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree

_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")


@dataclass(frozen=True, slots=True)
class Listed:
    """An object of a listing."""

    key: str
    size: int
    mtime_ns: int
    etag: str
    """With its quotes."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing."""

    objects: tuple[Listed, ...]
    more: str | None
    """Where the next page begins."""


def page_of(text: bytes) -> Page:
    """A page of ListObjectsV2. Raises ValueError if it is none."""
    root = _root(text)
    coded = root.findtext("EncodingType") == "url"
    objects = tuple(_listed(each, coded) for each in root.iter("Contents"))
    truncated = root.findtext("IsTruncated") == "true"
    more = root.findtext("NextContinuationToken") if truncated else None
    if truncated and not more:
        raise ValueError("there is more, and it isn't said where")
    return Page(objects, more)


def uploads_of(text: bytes) -> list[tuple[str, str, float]]:
    """Key, id and time (Unix) of each upload that wasn't finished. Raises ValueError if it is no such list."""
    return [
        (
            each.findtext("Key") or "",
            each.findtext("UploadId") or "",
            datetime.fromisoformat(each.findtext("Initiated") or "").timestamp(),
        )
        for each in _root(text).iter("Upload")
    ]


def upload_id(text: bytes) -> str:
    """Of a new upload. Raises ValueError."""
    found = _root(text).findtext("UploadId")
    if not found:
        raise ValueError("no UploadId")
    return found


def code_of(text: bytes) -> str:
    """The code of an error, such as NoSuchBucket; empty if there is none. Its words may quote anything: not taken."""
    found = _CODE.search(text)
    return found[1].decode() if found else ""


def _listed(each: ElementTree.Element, coded: bool) -> Listed:
    key, size, etag = each.findtext("Key") or "", each.findtext("Size") or "", each.findtext("ETag") or ""
    changed = datetime.fromisoformat(each.findtext("LastModified") or "")
    nanoseconds = int(changed.timestamp()) * 10**9 + changed.microsecond * 1000
    etag = etag if etag.startswith(('"', "W/")) or not etag else f'"{etag}"'
    return Listed(unquote_plus(key) if coded else key, int(size), nanoseconds, etag)


def _root(text: bytes) -> ElementTree.Element:
    """Without its namespace, which some stores leave out."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - of the store that holds our rows; expat bounds entities
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]
    return root
