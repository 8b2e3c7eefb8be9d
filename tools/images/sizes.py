"""What images weigh: held to `images/budget.toml`, and told in `docs/reference/images.md`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.images.archive import Archive
from tools.images.catalog import BUDGET, ROOT, Image
from tools.images.packages import bytes_by_owner

PAGE = ROOT / "docs" / "reference" / "images.md"
MB = 1_000_000
_SHOWN_FROM = 1.0
"""What weighs less, in MB, is told as one."""
_BEGIN, _END = "<!-- sizes: python -m tools.images --docs -->", "<!-- end of sizes -->"


@dataclass(frozen=True, slots=True)
class Weight:
    """An image's weight in bytes: on a node's disk, as registries send it, and by owner."""

    size: int
    compressed: int
    owners: Mapping[str, int]


def weigh(archive: Archive) -> Weight:
    """What the archive says."""
    return Weight(archive.size, archive.compressed, dict(bytes_by_owner(archive)))


def keep(image: Image, weight: Weight) -> None:
    """Write it beside the archive."""
    _file(image).write_text(json.dumps(asdict(weight), indent=1, sort_keys=True), encoding="utf-8")


def kept(image: Image) -> Weight:
    """What `keep` wrote. Raises OSError if the image isn't built."""
    return Weight(**json.loads(_file(image).read_text(encoding="utf-8")))


def too_heavy(image: Image, weight: Weight) -> list[str]:
    """Sentences about what is over the budget."""
    budget = tomllib.loads(BUDGET.read_text(encoding="utf-8"))[image.name]
    return [
        f"{image.name}: {found / MB:.1f} MB {what}, the budget is {budget[key]} MB (images/budget.toml)"
        for key, what, found in (
            ("compressed", "compressed", weight.compressed),
            ("uncompressed", "uncompressed", weight.size),
        )
        if found > budget[key] * MB
    ]


def page(images: Sequence[Image]) -> str:
    """The page's text with the figures of the images as they are built now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{_table(images)}{_END}{after}"


def figures(text: str) -> dict[str, tuple[float, float]]:
    """Compressed and uncompressed MB by image, as the page tells them."""
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if "| " in line]
    return {row[0]: (float(row[1]), float(row[2])) for row in rows if len(row) == 4 and row[1][:1].isdigit()}


def _table(images: Sequence[Image]) -> str:
    budget = tomllib.loads(BUDGET.read_text(encoding="utf-8"))
    lines = [
        "",
        "| image | compressed, MB | uncompressed, MB | what the bytes are (uncompressed, MB) |",
        "|---|---|---|---|",
    ]
    for image in images:
        weight = kept(image)
        lines.append(
            f"| `{image.name}` | {weight.compressed / MB:.1f} | {weight.size / MB:.1f} | {_owners(weight.owners)} |"
        )
    lines += ["", "The budget: " + "; ".join(_limit(image, budget) for image in images) + ".", "", ""]
    return "\n".join(lines)


def _limit(image: Image, budget: Mapping[str, Mapping[str, int]]) -> str:
    limits = budget[image.name]
    return f"`{image.name}` {limits['compressed']} MB compressed, {limits['uncompressed']} MB uncompressed"


def _owners(owners: Mapping[str, int]) -> str:
    large = sorted(
        ((size / MB, name) for name, size in owners.items() if size >= _SHOWN_FROM * MB),
        key=lambda pair: (-pair[0], pair[1]),
    )
    others = sum(owners.values()) / MB - sum(size for size, _ in large)
    return ", ".join([*(f"{name} {size:.1f}" for size, name in large), f"all others {others:.1f}"])


def _file(image: Image) -> Path:
    return image.archive.with_suffix(".weight.json")
