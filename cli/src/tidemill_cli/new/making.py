"""A template's files under the names that were asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from tidemill_check.problem import suggestion
from tidemill_cli.editor.schemas import FOLDER, schemas
from tidemill_cli.lint.yaml_text import resolve

DEFAULT: Final = "csv-to-postgres"
_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_PIPELINE: Final = "pipeline.yaml"


class NewError(Exception):
    """Nothing was made; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the templates' own names become."""

    pipeline: str
    namespace: str

    def into(self, text: str) -> str:
        """A template's text, or the name of its file, with these names."""
        return (
            text.replace("template-namespace", self.namespace)
            .replace("template-name", self.pipeline)
            .replace("template_name", self.pipeline.replace("-", "_"))
        )


def templates() -> dict[str, str]:
    """Each template with what its pipeline does."""
    return {
        each.name: _purpose(each) for each in sorted(_root().iterdir(), key=lambda one: one.name) if _is_template(each)
    }


def make(template: str, folder: Path, name: str | None, namespace: str) -> tuple[Path, ...]:
    """Write a template's files into the folder, which may be there but must not hold any of them; the paths.

    Raises NewError, OSError.
    """
    known = templates()
    if template not in known:
        raise NewError(f"there is no template {template}{suggestion(template, known)}")
    wished = name or re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    for what, value in (("--name", wished), ("--namespace", namespace)):
        if not _NAME.fullmatch(value):
            said = f"{value!r} can't be a name: use lower-case letters, digits and '-', such as daily-orders"
            raise NewError(f"{what}: {said}")
        if not isinstance(resolve(value), str):
            raise NewError(f"{what}: {value} without quotes is no text in YAML, but {resolve(value)}: choose another")
    names = Names(wished, namespace)
    texts = {folder / names.into(path): names.into(text) for path, text in _files(_root() / template)}
    texts |= {folder / FOLDER / file: text for file, text in schemas().items()}
    if there := [path for path in texts if path.exists()]:
        raise NewError(f"{there[0]} is there already: choose another folder")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tuple(texts)


def _root() -> Traversable:
    return resources.files("tidemill_cli") / "templates"


def _is_template(folder: Traversable) -> bool:
    return folder.is_dir() and (folder / _PIPELINE).is_file()


def _purpose(template: Traversable) -> str:
    """The comment below the line for editors."""
    lines = (template / _PIPELINE).read_text(encoding="utf-8").splitlines()
    return lines[1].removeprefix("# ")


def _files(folder: Traversable, before: str = "") -> Iterator[tuple[str, str]]:
    for each in sorted(folder.iterdir(), key=lambda one: one.name):
        if each.is_dir():
            yield from _files(each, f"{before}{each.name}/")
        else:
            yield f"{before}{each.name}", each.read_text(encoding="utf-8")
